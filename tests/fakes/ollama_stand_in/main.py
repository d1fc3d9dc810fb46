# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""STAND-IN for Ollama: the commands serve, list, run and --version."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from .models import Scheduler
from .server import Server, say
from .store import Store

VERSION_FILE = Path(__file__).resolve().parent / "VERSION"
HELP = """STAND-IN for Ollama, for tests. It is not Ollama, and it runs no model.

Usage:
  ollama [command]

Available Commands:
  serve       Start the server
  run         Load a model and send one prompt
  list        List models
  help        Help about any command

Flags:
  -h, --help      help for ollama
  -v, --version   Show version information
"""
RUN_HELP = """STAND-IN for Ollama, for tests: load a model, and send one prompt.

Usage:
  ollama run MODEL [PROMPT] [flags]

Flags:
  -h, --help               help for run
      --keepalive string   Duration to keep a model loaded (e.g. 5m)
"""


def version() -> str:
    """Return the version that the archive was packed as."""
    return VERSION_FILE.read_text(encoding="utf-8").strip() if VERSION_FILE.is_file() else "0.32.15"


def is_on(name: str) -> bool:
    """Read a switch of the environment as the real program does: anything but a false word is true."""
    text = os.environ.get(name, "").strip().strip("\"'")
    return bool(text) and text.lower() not in ("0", "f", "false")


def listen_address() -> tuple[str, int]:
    """Return address and port of OLLAMA_HOST."""
    text = os.environ.get("OLLAMA_HOST", "").strip().rpartition("://")[2].rstrip("/")
    if text.startswith("["):
        host, _bracket, rest = text[1:].partition("]")
        return host, int(rest.lstrip(":") or 11434)
    host, colon, port = text.partition(":")
    return host or "127.0.0.1", int(port) if colon else 11434


def models_directory() -> Path:
    """Return what OLLAMA_MODELS names, or the default in the home directory."""
    return Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama" / "models")


def serve() -> int:
    """Serve until a signal. As the real server, it does not wait for requests under way."""
    names = ("HOST", "MODELS", "NO_CLOUD", "NOPRUNE", "KEEP_ALIVE", "NUM_PARALLEL", "MAX_QUEUE", "CONTEXT_LENGTH")
    say("server config " + " ".join(f"OLLAMA_{name}:{os.environ.get('OLLAMA_' + name, '')}" for name in names))
    print(f"Ollama cloud disabled: {str(is_on('OLLAMA_NO_CLOUD')).lower()}", file=sys.stderr, flush=True)
    # The real server keeps its own key there.
    key = Path.home() / ".ollama" / "id_ed25519"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.touch(mode=0o600)
    store = Store(models_directory(), prune=not is_on("OLLAMA_NOPRUNE"))
    try:
        server = Server(listen_address(), version(), store, Scheduler(store, dict(os.environ)))
    except OSError as error:
        print(f"Error: listen tcp {':'.join(map(str, listen_address()))}: {error}", file=sys.stderr)
        return 1

    def stop(number: int, frame: FrameType | None) -> None:
        say("told to stop")
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say(f"Listening on {':'.join(map(str, listen_address()))} (version {version()})")
    server.serve_forever()
    return 0


def ask(method: str, path: str, payload: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Ask the server that runs; return status and content."""
    connection = http.client.HTTPConnection(*listen_address(), timeout=3600)
    body = None if payload is None else json.dumps(payload)
    connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, text.decode(errors="replace")


def command_line(arguments: list[str]) -> int:
    """Do what list and run do."""
    status, _content = ask("GET", "/")
    if arguments[0] in ("list", "ls"):
        _status, content = ask("GET", "/api/tags")
        print("NAME\tID\tSIZE")
        for model in content["models"]:
            print(f"{model['name']}\t{model['digest'][:12]}\t{model['size']}")
        return 0
    words = [word for word in arguments[1:] if not word.startswith("--")]
    status, content = ask("POST", "/api/show", {"model": words[0]})
    if status == 404:
        # The real program fetches a model that is not there.
        status, content = ask("POST", "/api/pull", {"model": words[0], "stream": False})
    if status == 200:
        status, content = ask(
            "POST", "/api/generate", {"model": words[0], "prompt": " ".join(words[1:]), "stream": False}
        )
    if status != 200:
        print(f"Error: {content.get('error') if isinstance(content, dict) else content}", file=sys.stderr)
        return 1
    print(content.get("response", ""))
    return 0


def main(arguments: list[str]) -> int:
    """Behave like ollama."""
    if arguments[:1] == ["serve"] and "--help" not in arguments:
        return serve()
    if "--version" in arguments or "-v" in arguments:
        try:
            _status, content = ask("GET", "/api/version")
            print(f"ollama version is {content['version']}")
        except OSError:
            print("Warning: could not connect to a running Ollama instance")
            print(f"Warning: client version is {version()}")
        return 0
    if arguments[:1] == ["run"] and ("--help" in arguments or len(arguments) < 2):
        print(RUN_HELP)
        return 0
    if arguments[:1] and arguments[0] in ("run", "list", "ls") and "--help" not in arguments:
        try:
            return command_line(arguments)
        except OSError:
            print("Error: could not connect to ollama server, run 'ollama serve' to start it", file=sys.stderr)
            return 1
    print(HELP)
    return 0
