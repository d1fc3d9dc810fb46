#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The unit tests with each version of ansible-core that make setup found a Python for.
#   tools/unit.sh [arguments for pytest]      for instance: tools/unit.sh -k plan
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
cd "$COLLECTION"
where=(tests/unit)
for word in "$@"; do
    # A test file or directory that is named takes the place of all of them.
    if [ -e "${word%%::*}" ]; then where=(); fi
done
for venv in "$VENV" "$VENV_NEXT"; do
    [ -x "$venv/bin/pytest" ] || continue
    name=$("$venv/bin/python" -c 'import ansible.release as r, sys; print("ansible-core %s, Python %d.%d" % (r.__version__, *sys.version_info[:2]))')
    step "unit: $name" env PATH="$venv/bin:$PATH" "$venv/bin/pytest" "${where[@]}" "$@"
done
[ ${#FAILED[@]} -eq 0 ] || die "unit tests failed with: ${FAILED[*]}"
