#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Every linter, one after the other; all of them run even when one finds something.
#   tools/lint.sh                 all
#   tools/lint.sh ruff mypy       only these (ruff, mypy, yamllint, ansible-lint, antsibull-docs, antsibull-changelog)
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
cd "$ROOT"

lint_ruff() {
    local rc=0
    ruff check --quiet --output-format concise . || rc=1
    ruff format --check . || rc=1
    [ "$rc" -eq 0 ] || echo "    mend what can be mended by itself: .build/venv/bin/ruff check --fix . && .build/venv/bin/ruff format ."
    return "$rc"
}

lint_mypy() { # by full name, from the directory that holds ansible_collections
    local files=()
    mapfile -d '' -t files < <(checkout_files | grep -z '\.py$' | sed -z 's|^|ansible_collections/local_llm/ops/|')
    [ ${#files[@]} -gt 0 ] || return 0
    # Helpers of the tests that are imported by their short names.
    local place short=
    for place in tests/lab tests/browser tests/fakes/example_rollout; do
        short+=${short:+:}ansible_collections/local_llm/ops/$place
    done
    (cd "$BUILD/collections" && MYPYPATH=$short mypy --config-file "$ROOT/mypy.ini" --cache-dir "$BUILD/cache/mypy" --no-error-summary "${files[@]}")
}

lint_yamllint() {
    local files=()
    mapfile -d '' -t files < <(checkout_files | grep -zE '(\.ya?ml|/\.?(yamllint|ansible-lint))$')
    yamllint --strict "${files[@]}"
}

lint_ansible-lint() { # offline: nothing is fetched, the collection is found through $ANSIBLE_COLLECTIONS_PATH
    ansible-lint --offline --nocolor -q
}

lint_antsibull-docs() {
    [ -f "$ROOT/README.md" ] || warn "README.md is missing: galaxy.yml names it"
    antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=dependent \
        --disallow-unknown-collection-refs "$COLLECTION"
}

lint_antsibull-changelog() {
    antsibull-changelog lint
}

tools=("$@")
[ ${#tools[@]} -gt 0 ] || tools=(ruff mypy yamllint antsibull-changelog antsibull-docs ansible-lint)
for tool in "${tools[@]}"; do
    declare -F "lint_$tool" >/dev/null || die "no linter is called '$tool'. There are: ruff mypy yamllint ansible-lint antsibull-docs antsibull-changelog"
    step "lint: $tool" "lint_$tool"
done
[ ${#FAILED[@]} -eq 0 ] || die "these found something: ${FAILED[*]}"
