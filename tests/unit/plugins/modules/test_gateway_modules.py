# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules against a socket that behaves like HAProxy's: check mode, changes, refusals, lost orders."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.modules import gateway_backend, gateway_info, gateway_keys

COLUMNS = "be_name srv_name srv_op_state srv_admin_state srv_uweight srv_port"
ADMIN = {"ready": 0, "maint": 1, "drain": 8}


class FakeHAProxy(socketserver.ThreadingUnixStreamServer):
    """The few commands that the modules use, kept in dictionaries."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, FakeHandler)
        self.servers = {f"pool_chat/{name}": [0, 1] for name in ("a", "b")}
        self.servers.update({f"canary_chat/{name}": [0, 0] for name in ("a", "b")})
        self.map: dict[str, str] = {}
        self.deaf = False
        self.in_flight = 0

    def reply(self, command: str) -> str:
        words = command.split()
        if command == "show servers state":
            lines = [f"{key.replace('/', ' ')} 2 {admin} {weight} 1" for key, (admin, weight) in self.servers.items()]
            return "\n".join(["1", f"# {COLUMNS}", *lines, ""])
        if command == "show stat":
            return f"# pxname,svname,scur\npool_chat,a,{self.in_flight}\npool_chat,b,0\n"
        if words[:2] == ["show", "map"]:
            return "".join(f"0x1 {key} {value}\n" for key, value in self.map.items())
        if self.deaf:
            return "\n"
        if words[1] == "map":
            self.map[words[3]] = words[4]
        elif re.match(r"set server \S+ state", command):
            self.servers[words[2]][0] = ADMIN[words[4]]
        else:
            self.servers[words[2]][1] = int(words[4])
        return "\n"


class FakeHandler(socketserver.StreamRequestHandler):
    server: FakeHAProxy

    def handle(self) -> None:
        self.wfile.write(self.server.reply(self.rfile.readline().decode().strip()).encode())


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[FakeHAProxy]:
    (tmp_path / "leases").mkdir()
    with FakeHAProxy(str(tmp_path / "s")) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def run(
    module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, check: bool = False, **arguments: Any
) -> dict[str, Any]:
    places = {"socket_path": str(tmp_path / "s"), "master_socket_path": "/nowhere", "directory": str(tmp_path)}
    places["map_path"] = str(tmp_path / "shares.map")
    with patch_module_args({**places, **arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        module.main()
    return dict(json.loads(capsys.readouterr().out))


def backend(tmp_path: Path, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    return run(gateway_backend, tmp_path, capsys, **{"pool": "chat", "server": "a", **arguments})


def test_a_share_is_set_read_back_and_kept(
    haproxy: FakeHAProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = backend(tmp_path, capsys, state="ready", share_percent=30)
    assert result["changed"]
    assert result["before"] == {"state": "ready", "share_percent": 100}
    assert result["after"] == {"state": "ready", "share_percent": 30, "operational_state": "up"}
    assert haproxy.map == {"chat": "30"}
    assert (tmp_path / "shares.map").read_text() == "chat 30\n"
    assert "canary_chat a 2 0 30" in (tmp_path / "server-state").read_text()
    assert not backend(tmp_path, capsys, state="ready", share_percent=30)["changed"]


def test_check_mode_predicts_and_leaves_everything(
    haproxy: FakeHAProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = backend(tmp_path, capsys, check=True, state="drain", lease_seconds=60)
    assert result["changed"]
    assert result["diff"]["after"] == {"state": "drain", "share_percent": 0}
    assert haproxy.servers["pool_chat/a"] == [0, 1]
    assert not (tmp_path / "server-state").exists()
    assert list((tmp_path / "leases").iterdir()) == []


def test_an_order_without_effect_is_an_error_not_a_success(
    haproxy: FakeHAProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    haproxy.deaf = True
    result = backend(tmp_path, capsys, state="drain")
    assert result["failed"]
    assert "HAProxy reports" in result["msg"]


def test_a_renewed_lease_keeps_the_values_from_before_the_first(
    haproxy: FakeHAProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backend(tmp_path, capsys, state="ready", share_percent=20)
    for state in ("drain", "maint"):
        result = backend(tmp_path, capsys, state=state, lease_seconds=60)
        assert result["lease"]["before"] == {"state": "ready", "share_percent": 20}
    ended = backend(tmp_path, capsys, state="maint")
    assert ended["changed"]
    assert ended["lease"] is None
    assert list((tmp_path / "leases").iterdir()) == []


def test_waiting_for_idle_fails_with_the_number_that_remains(
    haproxy: FakeHAProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    haproxy.in_flight = 3
    monkeypatch.setattr(gateway_backend.Gateway, "wait_idle", _wait_briefly(gateway_backend.Gateway.wait_idle))
    result = backend(tmp_path, capsys, state="drain", wait_idle_seconds=5)
    assert result["failed"]
    assert "still has 3 requests in flight" in result["msg"]
    assert haproxy.servers["pool_chat/a"][0] == ADMIN["drain"]


def _wait_briefly(wait: Any) -> Any:
    return lambda self, pool, server, seconds: wait(self, pool, server, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pool": "nopool"}, "Known pools: chat"),
        ({"server": "nobody"}, "Known servers: a, b"),
        ({"share_percent": 101}, "from 0 to 100"),
        ({"state": "ready", "share_percent": 0}, "state drain"),
        ({"lease_seconds": -1}, "lease_seconds is -1"),
    ],
)
def test_what_cannot_be_is_refused(
    haproxy: FakeHAProxy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, Any],
    words: str,
) -> None:
    result = backend(tmp_path, capsys, **{"state": "drain", **arguments})
    assert result["failed"]
    assert words in result["msg"]


def test_info_tells_state_share_and_lease(
    haproxy: FakeHAProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backend(tmp_path, capsys, state="drain", lease_seconds=60)
    result = run(gateway_info, tmp_path, capsys, pool="chat")
    first, second = result["servers"]
    assert (first["server"], first["admin_state"], first["share_percent"]) == ("a", "drain", 0)
    assert first["lease"]["before"] == {"state": "ready", "share_percent": 100}
    assert (second["server"], second["admin_state"], second["lease"]) == ("b", "ready", None)
    assert not result["changed"]


def test_info_refuses_an_unknown_pool(haproxy: FakeHAProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Known pools: chat" in run(gateway_info, tmp_path, capsys, pool="nopool")["msg"]


def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str], check: bool = False, **arguments: Any) -> dict[str, Any]:
    given = {"directory": str(tmp_path), **arguments, "_ansible_check_mode": check}
    with patch_module_args(given), pytest.raises(SystemExit):
        gateway_keys.main()
    return dict(json.loads(capsys.readouterr().out))


def test_keys_are_stored_as_hashes_only_and_the_pepper_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "sk-a-0123456789abcdef"
    assert keys(tmp_path, capsys, check=True, api_keys={"a": secret})["changed"]
    assert list(tmp_path.iterdir()) == []
    first = keys(tmp_path, capsys, api_keys={"a": secret})
    assert first["changed"]
    assert secret not in json.dumps(first["diff"])
    pepper = (tmp_path / "pepper.map").read_text()
    assert secret not in pepper + (tmp_path / "keys.map").read_text()
    assert not keys(tmp_path, capsys, api_keys={"a": secret})["changed"]
    assert keys(tmp_path, capsys, api_keys={"a": secret, "b": "sk-b-0123456789abcdef"})["diff"]["after"] == {
        "a": 1,
        "b": 1,
    }
    assert (tmp_path / "pepper.map").read_text() == pepper


def test_a_host_that_is_no_gateway_yet_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = run(gateway_info, tmp_path, capsys, map_path=str(tmp_path / "local_llm" / "shares.map"))
    assert bare["failed"] and bare["set_up"] is False
    assert "no gateway yet" in bare["msg"] and "Run local_llm.ops.site first" in bare["msg"]
    stopped = run(gateway_info, tmp_path, capsys)
    assert stopped["set_up"] is True and "systemctl status haproxy" in stopped["msg"]
