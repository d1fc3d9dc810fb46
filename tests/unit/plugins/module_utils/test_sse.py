# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-sent events, however the bytes are cut."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._sse import MAX_EVENT_BYTES, SseParser

STREAM = b': comment\n\ndata: {"a": 1}\n\nevent: error\r\ndata:two\r\ndata: lines\r\n\r\nid: 7\n\ndata: [DONE]\n\n'
EVENTS = [("", b'{"a": 1}'), ("error", b"two\nlines"), ("", b"[DONE]")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_arrive(size: int) -> None:
    parser = SseParser()
    events = [event for start in range(0, len(STREAM), size) for event in parser.feed(STREAM[start : start + size])]
    assert events == EVENTS


def test_a_last_event_without_its_blank_line_is_not_lost() -> None:
    parser = SseParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.finish() == [("", b"[DONE]")]
    assert parser.finish() == []


def test_a_line_without_an_end_is_refused_before_memory_runs_out() -> None:
    with pytest.raises(ValueError, match="longer than"):
        SseParser().feed(b"x" * (MAX_EVENT_BYTES + 1))
