#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The driver as a transaction, with every fault, on the lab's machines and with small packages of the real names.
#   tools/driver_tests.sh [arguments for pytest]
#   REAL=1 tools/driver_tests.sh        the packages of Debian's non-free instead: about ten minutes and some GiB
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
[ "$(id -u)" -eq 0 ] || die "the lab's machines need root: sudo make driver-tests"
cd "$COLLECTION"
if [ -n "${REAL:-}" ]; then
    exec pytest tests/driver -m slow --durations=10 "$@"
fi
exec pytest tests/driver -m "not slow" --durations=10 "$@"
