# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what NVML and the kernel log say about GPUs to Prometheus. Takes the JSON file that the role writes.

One loop reads, every interval_seconds, with a deadline; a process of its own asks NVML, because a driver may hang.
A scrape shows the newest reading and waits for nobody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

LIBRARY = "/usr/local/libexec/local_llm/gpu_exporter_lib"
sys.path.insert(0, LIBRARY)

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _exporter_samples as shown  # noqa: E402
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _exporter_state as state  # noqa: E402

# The program of the process that asks NVML: as little as can be, because it stays.
WORKER = """
import sys
sys.path[:0] = {path!r}
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_worker import serve
serve({options!r})
"""
# After so long without a single answer the exporter ends, to be started again: the service manager then looks again
# which devices there are. It allows only those that were there at the start.
RESTART_SECONDS = 300.0
MAX_CONNECTIONS = 8
CLIENT_SECONDS = 10.0
# Not a failure of the exporter: it wants to be started again (EX_TEMPFAIL of sysexits.h).
START_AGAIN = 75


def say(text: str) -> None:
    """Write a line into the journal."""
    print(text, file=sys.stderr, flush=True)


class Exporter:
    """What is known, and the loop that keeps it up to date."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Prepare; nothing is read yet. options: the configuration file."""
        from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_child import Worker
        from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_log import KernelLog

        self._options = options
        self._seen = shown.Seen()
        self._log = KernelLog(options["kernel_log"], options["known_xids"], options["procfs_root"])
        program = WORKER.format(path=[LIBRARY], options={"procfs_root": options["procfs_root"]})
        command = [sys.executable, "-I", "-c", program]
        self._worker = Worker(command, dict(os.environ))
        self._told: dict[str, str] = {}
        self.stopping = threading.Event()

    def samples(self) -> shown.Samples:
        """Return what to show now."""
        return shown.samples(self._seen, time.time(), self._options["max_age_seconds"])

    def run(self) -> int:
        """Read until the end; return the exit status."""
        interval, failures, next_read = float(self._options["interval_seconds"]), 0, 0.0
        started = time.monotonic()
        while not self.stopping.is_set():
            begun = time.monotonic()
            self._log.poll()
            self._seen = replace(self._seen, xids=self._log.counts, log_readable=self._log.readable)
            self._tell("kernel log", self._log.error or "")
            # A wait may end a little early.
            if begun >= next_read - 0.05:
                reading = self._worker.read(float(self._options["deadline_seconds"]))
                self._seen, why = state.after_reading(self._seen, reading, time.time(), sys.executable)
                self._tell("NVML", why)
                failures = failures + 1 if self._seen.problem else 0
                next_read = begun + state.next_wait_seconds(interval, failures)
            never = not self._seen.read_at_seconds and self._seen.problem != "hung"
            if never and time.monotonic() - started > RESTART_SECONDS:
                say("NVML has not answered since the start: ending, to be started again with a new look at the devices")
                self._worker.stop()
                return START_AGAIN
            self.stopping.wait(max(0.1, min(interval, begun + interval - time.monotonic())))
        self._worker.stop()
        return 0

    def _tell(self, what: str, why: str) -> None:
        """Say once what goes wrong, and once that it is well again."""
        if why != self._told.get(what, ""):
            say(f"{what}: {why or 'answers again'}")
            self._told[what] = why


class Collector:
    """Hands what is known to the Prometheus client library."""

    def __init__(self, samples: Callable[[], shown.Samples]) -> None:
        """samples: what to show now."""
        self._samples = samples

    def collect(self) -> Iterator[Any]:
        """Yield the metrics of one scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, kind, what, labels, found in shown.families(self._samples()):
            family = (CounterMetricFamily if kind == shown.COUNTER else GaugeMetricFamily)(name, what, labels=labels)
            for values, number in found:
                family.add_metric([values[label] for label in labels], number)
            yield family


Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def guarded(application: Application, users: frozenset[str]) -> Application:
    """Return the application for /metrics only, and only for users; without any: for everybody.

    users: SHA-256 of "name:password", in hex.
    """

    def refuse(start_response: StartResponse, status: str, text: str, *headers: tuple[str, str]) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
        return [text.encode() + b"\n"]

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if users and not _allowed(environ.get("HTTP_AUTHORIZATION", ""), users):
            challenge = ("WWW-Authenticate", 'Basic realm="gpu_exporter"')
            return refuse(start_response, "401 Unauthorized", "User or password is wrong or missing.", challenge)
        if environ["PATH_INFO"] != "/metrics":
            return refuse(start_response, "404 Not Found", "The metrics are at /metrics.")
        return application(environ, start_response)

    return answer


def _allowed(header: str, users: frozenset[str]) -> bool:
    kind, _blank, value = header.partition(" ")
    try:
        given = base64.b64decode(value.strip(), validate=True)
    except ValueError:
        return False
    digest = hashlib.sha256(given).hexdigest()
    # All of them are compared: how long it takes tells nothing.
    found = sum(hmac.compare_digest(digest, user) for user in users)
    return kind.lower() == "basic" and found > 0


def make_server(options: dict[str, Any], application: Application, credentials: Path | None) -> Any:
    """Return the HTTP server, listening. It takes few connections at once, and none that is silent for long."""
    import socket
    from socketserver import TCPServer
    from wsgiref.simple_server import WSGIRequestHandler

    from prometheus_client.exposition import ThreadingWSGIServer

    class Handler(WSGIRequestHandler):
        timeout = CLIENT_SECONDS

        def log_message(self, format: str, *arguments: Any) -> None:
            """Log nothing: a scrape is no news."""

    class Server(ThreadingWSGIServer):
        context: Any = None
        places = threading.BoundedSemaphore(MAX_CONNECTIONS)

        def server_bind(self) -> None:
            TCPServer.server_bind(self)  # not that of HTTPServer, which asks the DNS for our name and may wait long
            self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
            self.setup_environ()

        def process_request(self, request: Any, client_address: Any) -> None:
            if not self.places.acquire(blocking=False):
                self.shutdown_request(request)
                return
            super().process_request(request, client_address)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                self.places.release()

        def finish_request(self, request: Any, client_address: Any) -> None:
            if self.context is None:
                super().finish_request(request, client_address)
                return
            # Here, in a thread of its own: a client that shakes no hands must not hold up the others.
            request.settimeout(CLIENT_SECONDS)
            wrapped = self.context.wrap_socket(request, server_side=True)
            try:
                super().finish_request(wrapped, client_address)
            finally:
                self.shutdown_request(wrapped)

        def handle_error(self, request: Any, client_address: Any) -> None:
            error = sys.exc_info()[1]
            if not isinstance(error, OSError):  # a client that went away or said nothing is no news
                say(f"a scrape from {client_address[0]} failed: {error!r}")

    (family, _type, _protocol, _name, address), *_others = socket.getaddrinfo(
        options["listen_address"], options["port"], type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    Server.address_family = family
    server = Server((str(address[0]), int(address[1])), Handler)
    server.set_app(application)
    if options["tls"] and credentials is not None:
        import ssl

        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.minimum_version = ssl.TLSVersion.TLSv1_2
        server.context.load_cert_chain(credentials / "tls_certificate", credentials / "tls_key")
    return server


def serve(configuration: Path) -> int:
    """Run the exporter until it is told to end; return the exit status."""
    from prometheus_client import CollectorRegistry, make_wsgi_app

    options = json.loads(configuration.read_text(encoding="utf-8"))
    credentials = Path(os.environ["CREDENTIALS_DIRECTORY"]) if "CREDENTIALS_DIRECTORY" in os.environ else None
    users: frozenset[str] = frozenset()
    if options["basic_auth"] and credentials is not None:
        users = frozenset((credentials / "users").read_text(encoding="ascii").split())
    exporter = Exporter(options)
    # A registry of its own, without the library's metrics about this process.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(exporter.samples))
    threading.stack_size(256 * 1024)
    try:
        server = make_server(options, guarded(make_wsgi_app(registry), users), credentials)
    except OSError as error:
        place = f"{options['listen_address']}:{options['port']}"
        say(f"cannot listen on {place}: {error}. Mend gpu_exporter_listen_address or gpu_exporter_port.")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: exporter.stopping.set())
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return exporter.run()


def main() -> int:
    """Run with the configuration that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        say(str(__doc__))
        return 2
    return serve(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
