#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# site and upgrade with every engine, and from one engine to another, on the lab's machines.
#   tools/engine_tests.sh [arguments for pytest]
# ENGINES=vllm runs the tests with the real vLLM on processors as well (AVX-512; about 1 GB to load the first time),
# ENGINES=only-vllm nothing else.
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
[ "$(id -u)" -eq 0 ] || die "the lab's machines need root: sudo make engine-tests"
cd "$COLLECTION"
where=(tests/engines)
case "${ENGINES:-}" in
    "") where+=(--ignore tests/engines/test_vllm.py) ;;
    vllm) ;;
    only-vllm) where=(tests/engines/test_vllm.py) ;;
    *) die "ENGINES=$ENGINES is not known: leave it empty, or set it to vllm or only-vllm" ;;
esac
exec pytest "${where[@]}" --durations=10 "$@"
