# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Where everything is built. Another place: make BUILD=/some/where unit
BUILD ?= $(CURDIR)/.build
export BUILD
# The name of the lab that lab-up, lab-down and demo use.
LAB ?= demo
LAB_HOSTS ?= gw1=bookworm gpu1=trixie gpu2=trixie gpu3=trixie
PYTHON := $(BUILD)/venv/bin/python
export ANSIBLE_COLLECTIONS_PATH := $(BUILD)/collections
# A comma begins a lane; lanes run side by side. Linters first, so that the machine images are there when they are needed.
# Both lanes are about as long; a third one would make the measurements of the tests too noisy. The parts that a plus joins
# run at one time: they mostly wait, and measure nothing. Too long for every run, so only when named: PARTS="driver-tests
# monitoring-tests+remediation-tests".
PARTS ?= lint sanity unit browser molecule gpu-tests engine-tests , rollout-tests

.PHONY: help setup venvs dashboards lint sanity unit browser molecule driver-tests test-driver engine-tests gpu-tests rollout-tests monitoring-tests remediation-tests demo lab-up lab-down lab-list test build clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: ## install what is missing: packages (as root), virtual environments, the link to the checkout
	@[ "$$LOCAL_LLM_SETUP_DONE" = 1 ] || tools/setup.sh

venvs:
	@[ "$$LOCAL_LLM_SETUP_DONE" = 1 ] || tools/setup.sh venvs

lint: venvs ## all linters; some of them: make lint ONLY="ruff mypy"
	@tools/lint.sh $(ONLY)

sanity: venvs ## ansible-test sanity; one test: make sanity ARGS="--test validate-modules"
	@tools/sanity.sh $(ARGS)

unit: venvs ## unit tests with every ansible-core at hand; for pytest: make unit ARGS="-k plan"
	@tools/unit.sh $(ARGS)

browser: setup ## the HTML report in a real browser, wide and narrow
	@tools/unit.sh tests/browser $(ARGS)

molecule: setup ## role scenarios on real machines; one of them: make molecule SCENARIO=host
	@tools/molecule.sh $(SCENARIO)

engine-tests: setup ## site and upgrade with every engine, on real machines; with the real vLLM: make engine-tests ENGINES=vllm
	@ENGINES="$(ENGINES)" tools/engine_tests.sh $(ARGS)

gpu-tests: setup ## health, recovery and rollouts with fake GPUs on real machines; for pytest: make gpu-tests ARGS="-k xid"
	@tools/gpu_tests.sh $(ARGS)

remediation-tests: setup ## a host that helps itself, with every fault, on real machines; for pytest: make remediation-tests ARGS="-k stuck"
	@tools/remediation_tests.sh $(ARGS)

driver-tests: setup ## the driver as a transaction, with every fault, on real machines; for pytest: make driver-tests ARGS="-k power"
	@tools/driver_tests.sh $(ARGS)

test-driver: setup ## the same with the real driver packages of Debian 12 and 13 (long: they are built by DKMS)
	@REAL=1 tools/driver_tests.sh $(ARGS)

rollout-tests: setup ## upgrades, good and bad, on real machines; for pytest: make rollout-tests ARGS="-k power"
	@EXTRA="$(EXTRA)" tools/rollout_tests.sh $(ARGS)

monitoring-tests: setup ## a real Prometheus watches a fleet while things break; for pytest: make monitoring-tests ARGS="-k disk"
	@EXTRA="$(EXTRA)" tools/monitoring_tests.sh $(ARGS)

test: setup ## everything that CI checks, with a table of seconds at the end; less: make test PARTS="lint unit"
	@python3 tools/run_parts.py $(PARTS)

dashboards: venvs ## write the Grafana dashboards again, from tools/dashboards and the alerts
	@PYTHONPATH="$(BUILD)/collections" $(PYTHON) -m ansible_collections.local_llm.ops.tools.dashboards $(ARGS)

demo: setup ## a fleet on this machine, one good upgrade and three bad ones under load, with reports
	@[ -f tests/lab/demo.py ] || { echo "error: tests/lab/demo.py is missing" >&2; exit 1; }
	@$(PYTHON) tests/lab/demo.py --lab $(LAB) $(ARGS)

lab-up: setup ## start a lab; other machines: make lab-up LAB_HOSTS="gw1=bookworm gpu1=trixie"
	@$(PYTHON) tests/lab/lab.py up --lab $(LAB) $(addprefix --host ,$(LAB_HOSTS))

lab-down: venvs ## end the lab and take its files away; another one: make lab-down LAB=name
	@$(PYTHON) tests/lab/lab.py down --lab $(LAB)

lab-list: venvs ## list the labs and their machines
	@$(PYTHON) tests/lab/lab.py list

build: venvs ## build the collection's archive, install it and look at the result
	@tools/build.sh

clean: ## delete what was built (ask for the labs to be ended first: make lab-down)
	rm -rf $(BUILD) .ansible .mypy_cache .ruff_cache .pytest_cache tests/output
	find . -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +
