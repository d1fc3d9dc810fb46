# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for dcgm-exporter: reads a list of counters as that does, and shows each of them for one GPU."""

from __future__ import annotations

import argparse
import csv
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


def main() -> int:
    """Serve what the list names until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-f", dest="counters", required=True)
    parser.add_argument("-a", dest="address", default=":9400")
    options = parser.parse_args()
    with open(options.counters, encoding="utf-8") as file:
        rows = [row for row in csv.reader(line for line in file if not line.startswith("#")) if row]
    for row in rows:
        if len(row) != 3:  # as the real one: it refuses the whole file
            print(f"malformed CSV record, expected 3 fields: {row}", file=sys.stderr)
            return 1
    labels = '{gpu="0",UUID="GPU-1",device="nvidia0",modelName="Card",Hostname="x"}'
    body = "".join(f"# TYPE {name} {kind.strip()}\n{name}{labels} 1\n" for name, kind, _what in rows).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    host, _colon, port = options.address.rpartition(":")
    HTTPServer((host, int(port)), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
