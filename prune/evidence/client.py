"""HTTP requests to a model's endpoint: bounded, retried, and never redirected with their key."""

import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from prune.errors import BadInputError, ResourceError
from prune.io.strict_json import parse_json

SECONDS = 120.0
"""For one answer, from the request to its last byte."""

MAX_BYTES = 16 * 2**20
"""Of an answer."""

WAITS = (1.0, 4.0, 15.0, 30.0)
"""Seconds before each repetition of a request."""

MAX_WAIT = 60.0
"""Longest that a server's `Retry-After` is obeyed, in seconds."""

_BUSY = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_OF_THE_REQUEST = {400, 413, 414, 415, 422}


class _Busy(Exception):
    """The same request may succeed later."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


@cache
def _client() -> httpx.Client:
    # Another host must not get the key, nor another path what was asked.
    return httpx.Client(follow_redirects=False, timeout=httpx.Timeout(SECONDS, connect=10.0))


def post(url: str, body: Mapping[str, Any], key: str, waits: Sequence[float] = WAITS) -> Any:
    """Send a JSON body and return the JSON value of the answer.

    A server that is busy, fails or cannot be reached is asked again after each of `waits`.

    Args:
        url: of the endpoint.
        body: of the request.
        key: sent as a bearer token, unless empty, and shown nowhere.
        waits: in seconds.

    Raises:
        BadInputError: this request is refused, or its answer is not JSON or too long.
        ResourceError: no request can succeed now: the endpoint is busy or cannot be reached, or
            refuses the key, or leads elsewhere.
    """
    for wait in (*waits, None):
        try:
            return _post(url, body, key)
        except _Busy as busy:
            if wait is None:
                raise ResourceError(
                    f"{url}: no usable answer in {len(waits) + 1} requests: "
                    f"{_without(key, str(busy))}; finished samples are kept, run the same command "
                    "again to resume"
                ) from None
            time.sleep(min(MAX_WAIT, wait if busy.wait is None else busy.wait))
    raise AssertionError("the last request returns or raises")


def _post(url: str, body: Mapping[str, Any], key: str) -> Any:
    headers = {"Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        with _client().stream("POST", url, json=body, headers=headers) as response:
            data = _read(url, response)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise ResourceError(f"{url}: not the URL of an endpoint: {error}") from None
    except httpx.HTTPError as error:
        raise _Busy(f"{type(error).__name__}: {error}") from None
    status = response.status_code
    if status == 200:
        try:
            return parse_json(data)
        except ValueError as error:
            raise BadInputError(f"{url}: no usable answer: {error}") from None
    said = _without(key, " ".join(data[:300].decode("utf-8", "replace").split()))
    if status in _BUSY:
        raise _Busy(f"status {status}: {said}", _retry_after(response))
    if status in _OF_THE_REQUEST:
        raise BadInputError(f"{url}: refuses the request with status {status}: {said}")
    if 300 <= status < 400:
        to = urlsplit(response.headers.get("Location", "")).netloc or "another path"
        raise ResourceError(f"{url}: leads to {to}, where nothing is sent: give that URL if meant")
    raise ResourceError(f"{url}: status {status}: {said}; check the URL and OPENAI_API_KEY")


def _read(url: str, response: httpx.Response) -> bytes:
    """The body of a response, within its bounds."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise BadInputError(f"{url}: no usable answer: compressed, which was not asked for")
    end, data = time.monotonic() + SECONDS, bytearray()
    for part in response.iter_raw():
        data += part
        if len(data) > MAX_BYTES:
            raise BadInputError(f"{url}: no usable answer: longer than {MAX_BYTES} bytes")
        if time.monotonic() > end:
            raise _Busy(f"not whole after {SECONDS:.0f} s")
    return bytes(data)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that a server asks to wait; None if it does not say."""
    said = response.headers.get("Retry-After", "")
    if said.isdecimal():
        return float(said[:9])
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None


def _without(key: str, text: str) -> str:
    return text.replace(key, "***") if key else text
