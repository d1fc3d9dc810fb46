# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of the controller's model cache: whom it answers, what it gives, and when it ends."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._lock_holder import process_start_ticks
from ansible_collections.local_llm.ops.plugins.plugin_utils._share import Share, ShareError, own_address, shared

DATA = bytes(range(256)) * 1000
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def play() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a play; it waits for the end of its input."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / NAME).write_bytes(DATA)
    (tmp_path / "secret.txt").write_text("no model")
    return tmp_path


@pytest.fixture
def share(cache: Path, play: subprocess.Popen[bytes]) -> Share:
    return shared(str(cache), "127.0.0.1", 0, play.pid)


def get(share: Share, path: str, token: str | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"{share.url}/{path}", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    request.add_header("Authorization", f"Bearer {share.token if token is None else token}")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, b""


def gone(pid: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process_start_ticks(pid) is None:
            return True
        time.sleep(0.01)
    return False


def test_it_gives_files_by_digest_whole_and_in_part(share: Share) -> None:
    assert get(share, NAME) == (200, DATA)
    assert get(share, NAME, Range="bytes=200000-") == (206, DATA[200000:])
    assert get(share, NAME, Range="bytes=5-9") == (206, DATA[5:10])
    assert get(share, NAME, Range="bytes=5-", If_Range='"other"') == (200, DATA)
    assert get(share, NAME, Range=f"bytes={len(DATA)}-") == (416, b"")


@pytest.mark.parametrize("path", ["", "secret.txt", "..%2fsecret.txt", "0" * 64, f"{NAME}/", ".share/lock"])
def test_it_gives_nothing_but_digests(share: Share, path: str) -> None:
    assert get(share, path)[0] == 404


@pytest.mark.parametrize("token", ["", "wrong"])
def test_it_answers_nobody_without_the_token(share: Share, token: str) -> None:
    assert get(share, NAME, token=token) == (401, b"")


def test_a_link_in_the_cache_leads_nowhere(share: Share, cache: Path) -> None:
    (cache / ("1" * 64)).symlink_to("/etc/passwd")
    assert get(share, "1" * 64)[0] == 404


def test_one_server_per_play_however_many_ask(share: Share, cache: Path, play: subprocess.Popen[bytes]) -> None:
    assert shared(str(cache), "127.0.0.1", 0, play.pid) == share
    assert [path.stat().st_mode & 0o777 for path in (cache / ".share").glob("*.json")] == [0o600]


def test_a_server_that_died_is_started_again(share: Share, cache: Path, play: subprocess.Popen[bytes]) -> None:
    os.kill(share.pid, signal.SIGKILL)
    assert gone(share.pid)
    again = shared(str(cache), "127.0.0.1", 0, play.pid)
    assert again.pid != share.pid and get(again, NAME) == (200, DATA)


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_play_however_that_ends(share: Share, play: subprocess.Popen[bytes], way: int) -> None:
    play.send_signal(way)
    play.wait()
    assert gone(share.pid)


def test_the_token_is_not_in_the_arguments(share: Share) -> None:
    arguments = Path(f"/proc/{share.pid}/cmdline").read_bytes() + Path(f"/proc/{share.pid}/environ").read_bytes()
    assert share.token.encode() not in arguments


def test_all_hosts_together_stay_below_the_rate(cache: Path, play: subprocess.Popen[bytes]) -> None:
    share = shared(str(cache), "127.0.0.1", 1_000_000, play.pid)
    began = time.monotonic()
    assert get(share, NAME) == (200, DATA)
    assert get(share, NAME) == (200, DATA)
    assert 0.4 < time.monotonic() - began < 3


def test_an_address_that_is_not_the_controllers_is_told_with_the_fix(
    cache: Path, play: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(ShareError, match=r"cannot listen on 192\.0\.2\.1: .*local_llm_model_share_address"):
        shared(str(cache), "192.0.2.1", 0, play.pid)


def test_the_own_address_is_the_one_towards_the_host() -> None:
    assert own_address("127.0.0.1") == "127.0.0.1"
    with pytest.raises(ShareError, match="local_llm_model_fan_out: copy"):
        own_address("no-such-host.invalid")
