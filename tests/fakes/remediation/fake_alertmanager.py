#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE Alertmanager: fake_alertmanager.py PORT FILE appends every alert that is posted to it, one JSON line each."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """POST /api/v2/alerts."""

    def do_POST(self) -> None:
        """Keep the alerts."""
        alerts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.path == "/api/v2/alerts" and isinstance(alerts, list)
        if right:
            with open(sys.argv[2], "a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(alert) + "\n" for alert in alerts)
        self.send_response(200 if right else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


if __name__ == "__main__":
    HTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
