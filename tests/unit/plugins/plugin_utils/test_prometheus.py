# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of Prometheus as series; whatever is none is an error with one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import (
    PrometheusError,
    Series,
    open_server,
    quoted,
    read_answer,
)

URL = "http://mon1:9090"


def answer(kind: str, result: Any) -> Answer:
    body = {"status": "success", "data": {"resultType": kind, "result": result}}
    return Answer(200, json.dumps(body).encode())


def test_scalar_vector_and_matrix_become_series() -> None:
    assert read_answer(answer("scalar", [10.5, "10.5"]), URL) == [Series({}, ((10.5, 10.5),))]
    vector = [{"metric": {"host": "gpu1"}, "value": [1, "2"]}]
    assert read_answer(answer("vector", vector), URL) == [Series({"host": "gpu1"}, ((1.0, 2.0),))]
    matrix = [{"metric": {}, "values": [[1, "2"], [2, "NaN"]]}]
    (one,) = read_answer(answer("matrix", matrix), URL)
    assert [at for at, _value in one.samples] == [1.0, 2.0]
    assert read_answer(answer("vector", []), URL) == []


BAD = [
    (Answer(None, error="connection", detail="ConnectionRefusedError"), "does not answer: ConnectionRefusedError"),
    (Answer(200, b"x", error="too_large", detail="too long"), "does not answer: too long"),
    (Answer(502, b"<html>bad gateway</html>"), "answers 502: <html>bad gateway"),
    (Answer(400, b'{"status":"error","error":"parse error"}'), "answers 400: parse error"),
    (Answer(200, b'{"status":"success","data":{"resultType":"streams","result":[]}}'), "something else than series"),
    (Answer(200, b'{"status":"success"}'), "something else than series"),
    (Answer(200, b'{"status":"success","data":{"resultType":"vector","result":[1]}}'), "something else than series"),
    (Answer(401, b""), "answers 401: it wants another name or password; set local_llm_prometheus_user"),
    (Answer(500, b""), "answers 500: nothing"),
]


@pytest.mark.parametrize(("given", "told"), BAD)
def test_what_is_no_answer_is_an_error(given: Answer, told: str) -> None:
    with pytest.raises(PrometheusError, match=told):
        read_answer(given, URL)


def test_headers_go_along_and_a_broken_one_is_refused() -> None:
    arguments = {"url": f"{URL}/prometheus/", "ca_path": None, "headers": {"X-Scope-OrgID": "llm"}}
    endpoint = open_server(arguments, "local_llm_prometheus_url")
    assert endpoint.base_path == "/prometheus" and endpoint.headers == (("X-Scope-OrgID", "llm"),)
    for changed in ({"url": "mon1:9090"}, {"headers": {"A": "b\nc"}}, {"url": "http://user:secret@mon1:9090"}):
        with pytest.raises(PrometheusError, match="local_llm_prometheus_url") as caught:
            open_server({**arguments, **changed}, "local_llm_prometheus_url")
        assert "secret" not in str(caught.value)


def test_a_text_is_quoted_as_promql_reads_it() -> None:
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'


def test_a_name_and_a_password_become_a_header_and_half_of_them_is_refused() -> None:
    arguments: dict[str, Any] = {
        "url": "https://mon1:9090", "ca_path": None, "headers": {}, "url_username": "rossi",
    }  # fmt: skip
    endpoint = open_server({**arguments, "url_password": "p:ä"}, "local_llm_prometheus_url")
    assert endpoint.secure and endpoint.headers == (("Authorization", "Basic cm9zc2k6cDrDpA=="),)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "belong together"),
        ({"url_password": "p-secret", "url_username": ""}, "belong together"),
        ({"url_password": "p-secret", "headers": {"authorization": "Bearer x"}}, "give one of them"),
        ({"url_password": "p-secret", "url_username": "a:b"}, "colon"),
    )
    for wrong, told in cases:
        with pytest.raises(PrometheusError, match=told) as caught:
            open_server({**arguments, **wrong}, "local_llm_prometheus_url")
        assert "p-secret" not in str(caught.value)
