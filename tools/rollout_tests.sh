#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The rollout tests: good and bad upgrades, kills, cuts and power losses on the lab's machines.
#   tools/rollout_tests.sh [arguments for pytest]      EXTRA=1: also the cases that `make test` leaves out for their time
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
[ "$(id -u)" -eq 0 ] || die "the lab's machines need root: sudo make rollout-tests"
[ -d "$ROOT/tests/rollout" ] || die "tests/rollout is missing: there is nothing to run"
cd "$COLLECTION"
[ -n "${EXTRA:-}" ] || set -- -m "not extra" "$@"
exec pytest tests/rollout --durations=10 "$@"
