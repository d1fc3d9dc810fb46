#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ansible-test sanity on a copy of the checkout at .build/sanity/ansible_collections/local_llm/ops.
#   tools/sanity.sh                          all tests, then syntax and imports once more with the hosts' oldest Python
#   tools/sanity.sh --test validate-modules  what ansible-test sanity takes
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv

# ansible-test makes bare environments and downloads the installer of pip for each Python. Where that host is out of
# reach, the pip that comes with Python does: put it where ansible-test looks before it downloads.
offer_pip_bootstrap() {
    local version file
    version=$(python - <<'PYTHON'
import pathlib
import re

import ansible_test._internal as internal

text = pathlib.Path(internal.__file__).with_name("python_requirements.py").read_text(encoding="utf-8")
found = re.search(r"""pip=['"]([0-9.]+)['"]""", text)
print(found.group(1) if found else "")
PYTHON
    )
    [ -n "$version" ] || return 0
    file=$HOME/.ansible/test/cache/get_pip_${version//./_}.py
    [ -e "$file" ] && return 0
    if python - "$version" <<'PYTHON'
import sys
import urllib.request

try:
    urllib.request.urlopen(f"https://ci-files.testing.ansible.com/ansible-test/get-pip-{sys.argv[1]}.py", timeout=10).close()
except OSError:
    sys.exit(1)
PYTHON
    then
        return 0
    fi
    say "sanity: the download of pip's installer is out of reach; using the pip that comes with Python ($file)"
    mkdir -p "$(dirname "$file")"
    printf 'import ensurepip\nensurepip.bootstrap(upgrade=True)\n' >"$file"
}

copy=$BUILD/sanity/ansible_collections/local_llm/ops
rm -rf "$copy"
mkdir -p "$copy"
checkout_files | tar -C "$ROOT" --null -T - -cf - | tar -C "$copy" -xf -
# A repository of its own, else ansible-test sees the one around it, which ignores .build.
git -C "$copy" init --quiet
git -C "$copy" add --all

offer_pip_bootstrap
cd "$copy"
python_version=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
core_version=$(python -c 'import ansible.release as r; print(r.__version__)')
# pslint is for PowerShell; there is none here.
args=(sanity --color no --skip-test pslint)
[ $# -eq 0 ] || args=(sanity --color no "$@")
step "sanity: ansible-core $core_version, Python $python_version" ansible-test "${args[@]}" --python "$python_version"

# Modules run on hosts with Python 3.9: their syntax and imports are tried with it where it is at hand.
if [ $# -eq 0 ]; then
    oldest=
    for candidate in python3.9 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.9*/bin/python3.9; do
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            oldest=$candidate
            break
        fi
    done
    if [ -n "$oldest" ]; then
        PATH=$PATH:$(dirname "$("$oldest" -c 'import sys; print(sys.executable)')")
        step "sanity: syntax and imports with Python 3.9" ansible-test sanity --color no --python 3.9 --test compile --test import
    else
        echo "    no Python 3.9 at hand: the hosts' oldest Python is checked by ruff (target-version) only"
    fi
fi
[ ${#FAILED[@]} -eq 0 ] || die "ansible-test found something (see above); it prints the file, the line and the rule"
