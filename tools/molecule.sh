#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The molecule scenarios, each in a lab of its own: check, converge, idempotence, verify, remove, verify.
#   tools/molecule.sh                   all scenarios but those on demand (LOCAL_LLM_ALL_SCENARIOS=1: these too)
#   tools/molecule.sh host gateway      only these
#   MOLECULE_COMMAND=converge tools/molecule.sh host    one step, and the lab stays (end it: MOLECULE_COMMAND=destroy)
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
cd "$ROOT"
# Plain lines: pytest's closing lines stay readable for the table of make test.
export MOLECULE_COMMAND_BORDERS=false
[ -t 1 ] || export NO_COLOR=1 ANSIBLE_NOCOLOR=1
export MOLECULE_GLOB="molecule/*/molecule.yml"

[ "$(id -u)" -eq 0 ] || die "the lab's machines need root: sudo make molecule"
[ -f tests/lab/lab.py ] || die "tests/lab/lab.py is missing: the scenarios run on the machines that it makes"

# A scenario has one lab on this machine: two runs of it at once would end each other's machines.
run_scenario() {
    local lock=/run/lock/local-llm-molecule-$1 lab=m${1//_/}
    # Names of labs become names of machines and of network interfaces: 12 letters and digits.
    export LOCAL_LLM_MOLECULE_LAB=${lab:0:12}
    (
        flock --nonblock 9 || die "another run of scenario $1 holds $lock; wait for it to end"
        # The machines outlive a step, so they must not inherit the lock.
        molecule --base-config molecule/config.yml "${MOLECULE_COMMAND:-test}" --scenario-name "$1" 9>&-
    ) 9>"$lock"
}

scenarios=("$@")
named=$#
if [ ${#scenarios[@]} -eq 0 ]; then
    mapfile -t scenarios < <(find molecule -mindepth 2 -maxdepth 2 -name molecule.yml -printf '%h\n' | xargs -n 1 basename | sort)
fi
number=0
for scenario in "${scenarios[@]}"; do
    number=$((number + 1))
    [ -f "molecule/$scenario/molecule.yml" ] || die "there is no scenario '$scenario' in molecule/"
    [ -f "molecule/$scenario/converge.yml" ] || {
        warn "molecule/$scenario has no converge.yml yet"
        FAILED+=("$scenario")
        continue
    }
    say "molecule: scenario $number of ${#scenarios[@]}"
    # A scenario that costs too much for every run says so in a file; it runs when it is named.
    if [ "$named" -eq 0 ] && [ -f "molecule/$scenario/on_demand" ] && [ "${LOCAL_LLM_ALL_SCENARIOS:-}" != 1 ]; then
        warn "scenario $scenario is left out: $(<"molecule/$scenario/on_demand")"
        continue
    fi
    # A scenario that needs something special of this machine says what is missing, and is left out.
    if [ -x "molecule/$scenario/skip_reason.sh" ] && ! reason=$("molecule/$scenario/skip_reason.sh"); then
        warn "scenario $scenario is skipped: $reason"
        continue
    fi
    step "$scenario" run_scenario "$scenario"
done
[ ${#FAILED[@]} -eq 0 ] || die "scenarios failed: ${FAILED[*]}. One alone: make molecule SCENARIO=${FAILED[0]}"
