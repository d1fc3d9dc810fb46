#!/bin/sh
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Prints why this scenario cannot run on this machine; nothing when it can. tools/molecule.sh asks.
exec python3 "$(dirname "$0")/../../tests/lab/artefacts/vllm_cpu.py" --check
