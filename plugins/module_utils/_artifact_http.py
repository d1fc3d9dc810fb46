# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Ask an HTTP server for a file, or for the rest of one. Standard library only; knows nothing about models."""

from __future__ import annotations

import email.message
import http.client
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import IO, Any

USER_AGENT = "local_llm.ops"
_RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504)


class SourceError(Exception):
    """A source that did not give what was asked for. retry: asking again may help."""

    def __init__(self, text: str, retry: bool = False, range_refused: bool = False) -> None:
        super().__init__(text)
        self.retry, self.range_refused = retry, range_refused


@dataclass(frozen=True)
class Access:
    """How to reach a source."""

    token: str | None = None
    timeout_seconds: float = 60.0
    use_proxy: bool = True
    ca_path: str | None = None


@dataclass(frozen=True)
class Answer:
    """An open answer. start: where in the file the body begins. total_bytes: of the whole file, None if not told."""

    stream: Any
    start: int
    body_bytes: int | None
    total_bytes: int | None
    validator: str
    content_type: str


def shown(url: str) -> str:
    """Return an address without what may be secret in it: user, password and query."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def url_problem(url: str) -> str:
    """Return why an address cannot be used, or an empty text."""
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        return f"url = {url.split('?', maxsplit=1)[0]!r}: must be an address that begins with https:// or http://."
    if parts.username is not None or parts.password is not None:
        return f"url = {shown(url)!r}: holds a user or password. Take them out and use token."
    if parts.query or parts.fragment:
        return f"url = {shown(url)!r}: must end with a path, without ? and #. Use token for access."
    return ""


def join_url(base: str, path: str) -> str:
    """Return the address of a file below a base address."""
    return f"{base.rstrip('/')}/{urllib.parse.quote(path)}"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; the token stays with the server that it is for."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (scheme == "http" and req.full_url.startswith("https:")):
            raise SourceError(f"{shown(req.full_url)} sends us on to {shown(newurl)}, which is not encrypted. Refused.")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if new is not None and token and _origin(newurl) == _origin(req.full_url):
            new.add_unredirected_header("Authorization", token)
        return new


def _opener(access: Access) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_Redirects()]
    if not access.use_proxy:
        handlers.append(urllib.request.ProxyHandler({}))
    handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=access.ca_path)))
    return urllib.request.build_opener(*handlers)


def _status_error(url: str, status: int) -> SourceError:
    if status in (401, 403):
        fix = "Give a token that may read it (and accept the licence of the model where there is one)."
    elif status in (404, 410):
        fix = "It is not there (any more): check address, revision and path, or take another mirror."
    elif status in _RETRY_STATUS:
        fix = "The server is busy or broken: try again later, or take a mirror."
    else:
        fix = "Check the address."
    return SourceError(
        f"{shown(url)} answers with status {status}. {fix}", retry=status in _RETRY_STATUS, range_refused=status == 416
    )


def _validator(headers: email.message.Message) -> str:
    """Return what If-Range may carry: a strong entity tag, else the time of the last change, else nothing."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def open_source(url: str, access: Access, start: int = 0, validator: str = "", most: int | None = None) -> Answer:
    """Ask for a file from a byte on, or for so many bytes of it at most.

    The answer may begin at 0 and bring all the same: look at its start.
    """
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    if access.token:
        request.add_unredirected_header("Authorization", f"Bearer {access.token}")
    if start or most is not None:
        request.add_header("Range", f"bytes={start}-{'' if most is None else start + most - 1}")
        if validator:
            request.add_header("If-Range", validator)
    try:
        response = _opener(access).open(request, timeout=access.timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        raise _status_error(url, error.code) from None
    except urllib.error.URLError as error:
        certificate = isinstance(error.reason, ssl.SSLCertVerificationError)
        fix = "Give the authority's file (ca_path)." if certificate else "Check address, network and proxy."
        raise SourceError(f"{shown(url)} cannot be reached: {error.reason}. {fix}", retry=not certificate) from None
    except (OSError, http.client.HTTPException) as error:
        text = str(error) or type(error).__name__
        raise SourceError(f"{shown(url)} broke off: {text}. Check network and proxy.", retry=True) from None
    body = _number(response.headers.get("Content-Length"))
    begin, total = 0, body
    if response.status == 206:
        unit, _space, span = (response.headers.get("Content-Range") or "").partition(" ")
        place, _slash, whole = span.partition("/")
        first = _number(place.partition("-")[0])
        if unit != "bytes" or first != start:
            response.close()
            raise SourceError(f"{shown(url)} sent another part than the one asked for.", range_refused=True)
        begin, total = start, _number(whole)
    return Answer(response, begin, body, total, _validator(response.headers), response.headers.get_content_type())


def read_small(url: str, access: Access, limit_bytes: int) -> bytes:
    """Return a small file. Raises SourceError when it is larger than the limit or does not come."""
    answer = open_source(url, access)
    try:
        content: bytes = answer.stream.read(limit_bytes + 1)
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"{shown(url)} broke off: {error}.", retry=True) from None
    finally:
        answer.stream.close()
    if answer.body_bytes is not None and len(content) < min(answer.body_bytes, limit_bytes):
        raise SourceError(f"{shown(url)} broke off after {len(content)} of {answer.body_bytes} bytes.", retry=True)
    if len(content) > limit_bytes:
        raise SourceError(f"{shown(url)} is larger than {limit_bytes} bytes.")
    return content


def can_connect(url: str, seconds: float) -> bool:
    """Tell whether something listens at the host and port of an address."""
    parts = urllib.parse.urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False
