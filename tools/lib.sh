# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034  # some of the names are for the scripts that source this
# What the scripts in tools/ share. Source it; do not run it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything that is built lies here. Another place: make BUILD=/some/where ...
BUILD=$(realpath -m "${BUILD:-$ROOT/.build}")
VENV=$BUILD/venv
VENV_NEXT=$BUILD/venv-next
PROMTOOL=$BUILD/promtool/usr/bin
COLLECTION=$BUILD/collections/ansible_collections/local_llm/ops
export BUILD ANSIBLE_COLLECTIONS_PATH="$BUILD/collections"

say() { printf '==> %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

need_venv() {
    [ -x "$VENV/bin/ansible-playbook" ] || die "there is no working virtual environment at $VENV. Make it: make setup"
    export PATH="$VENV/bin:$PATH:$PROMTOOL"
}

# The files that belong to the checkout: tracked and new ones, not what git ignores. NUL-separated, relative to $ROOT.
checkout_files() {
    if git -C "$ROOT" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        # A file that was deleted but not yet committed is still listed by git: leave it out.
        git -C "$ROOT" ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' file; do
                if [ -e "$ROOT/$file" ]; then printf '%s\0' "$file"; fi
            done
    else
        (cd "$ROOT" && find . -type d \( -name .build -o -name .git -o -name '.*_cache' -o -name __pycache__ \) -prune \
            -o -type f -printf '%P\0')
    fi
}

# step NAME COMMAND...: run it, say how long it took, remember a failure in $FAILED.
FAILED=()
step() {
    local name=$1 start=$SECONDS rc=0
    shift
    say "$name"
    "$@" || rc=$?
    if [ "$rc" -eq 0 ]; then
        printf '    %s: ok, %s s\n' "$name" "$((SECONDS - start))"
    else
        printf '    %s: FAILED (exit status %s), %s s\n' "$name" "$rc" "$((SECONDS - start))"
        FAILED+=("$name")
    fi
}
