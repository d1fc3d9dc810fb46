#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Remediation on the lab's machines: crash loops, stuck engines, memory, rollouts, and HAProxy's agent check.
#   tools/remediation_tests.sh [arguments for pytest]
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
[ "$(id -u)" -eq 0 ] || die "the lab's machines need root: sudo make remediation-tests"
cd "$COLLECTION"
exec pytest tests/remediation --durations=15 "$@"
