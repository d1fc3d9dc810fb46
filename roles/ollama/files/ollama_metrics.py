#!/usr/bin/python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the metrics of the Ollama instances of this host: ollama_metrics HOST DIRECTORY [--probe]."""

from __future__ import annotations

import sys
import time
from typing import Any

sys.path.insert(0, "/usr/local/libexec/local_llm/ollama_lib")

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer, request
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_metrics import (
    FILE_NAME,
    Ask,
    Instance,
    families,
    find_instances,
    look,
)
from ansible_collections.local_llm.ops.plugins.module_utils._textfile import render, write

BASE = "/var/lib/local_llm"
ANSWER_SECONDS = 5.0
# A probe waits in the queue of the engine like every other request.
PROBE_SECONDS = 20.0


def asker(instance: Instance) -> Ask:
    """Return a function that asks this instance."""
    host = f"[{instance.address}]" if ":" in instance.address else instance.address
    endpoint = parse_endpoint(f"http://{host}:{instance.port}")

    def ask(path: str, payload: dict[str, Any] | None) -> tuple[Answer, float]:
        begun = time.perf_counter()
        answer = request(endpoint, path, ANSWER_SECONDS if payload is None else PROBE_SECONDS, payload)
        return answer, time.perf_counter() - begun

    return ask


def main() -> int:
    """Ask, write, and tell what went wrong on standard error."""
    arguments = [word for word in sys.argv[1:] if word != "--probe"]
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    host, directory = arguments
    probe = "--probe" in sys.argv[1:]
    looks = [look(instance, asker(instance), probe) for instance in find_instances(BASE, host)]
    try:
        write(directory, FILE_NAME, render(families(looks, time.time())))
    except OSError as error:
        print(f"ollama_metrics: {directory}/{FILE_NAME} cannot be written: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
