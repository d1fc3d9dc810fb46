#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The monitoring tests: a real Prometheus and Alertmanager watch a fleet on the lab's machines while things break.
#   tools/monitoring_tests.sh [arguments for pytest]      EXTRA=1: also the cases that take a quarter of an hour
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
[ "$(id -u)" -eq 0 ] || die "the lab's machines need root: sudo make monitoring-tests"
[ -d "$ROOT/tests/monitoring" ] || die "tests/monitoring is missing: there is nothing to run"
cd "$COLLECTION"
[ -n "${EXTRA:-}" ] || set -- -m "not extra" "$@"
exec pytest tests/monitoring --durations=15 "$@"
