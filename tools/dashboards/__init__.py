# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana dashboards as code: roles/monitoring/files/dashboards/*.json is made from here with `make dashboards`.

model.py says what a dashboard is, the files board_*.py say what is on each, grafana.py turns them into JSON. Only
that last one needs the library grafana-foundation-sdk; reading queries back (queries.py) needs nothing.
"""
