"""A server of OpenAI's interface on this machine: which model it serves, and what it counts."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from prune.errors import BadInputError, RefusedError, ResourceError
from prune.io.strict_json import parse_json

SECONDS = 10.0
"""For an answer about the server itself."""

INTERVAL = 0.1
"""Seconds between two looks at its gauges, which stand high for as long as an answer takes."""

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV, PREEMPTIONS = "vllm:kv_cache_usage_perc", "vllm:num_preemptions_total"
LAYERS = "prune_layers"


@dataclass(frozen=True)
class Endpoint:
    """A server that answers.

    Attributes:
        url: without a path.
        model: the first that it serves, by name.
        root: where that model lies on the server's disk, if it says so.
    """

    url: str
    model: str
    root: str | None

    @staticmethod
    def open(url: str) -> "Endpoint":
        """The server at an address of this machine.

        Raises:
            RefusedError: the address is another machine's.
            BadInputError: it is no address, or what answers is no such server.
            ResourceError: nothing answers.
        """
        url = _on_loopback(url)
        listed = f"{url}/v1/models"
        response = _get(listed)
        try:
            first = parse_json(response.content)["data"][0]
            return Endpoint(url, str(first["id"]), first.get("root"))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise BadInputError(
                f"{listed}: status {response.status_code} and no list of models: give the address "
                "of a server with OpenAI's interface, such as http://127.0.0.1:8000"
            ) from None

    def metrics(self) -> dict[str, float]:
        """The sums of the samples of each metric, by name; none if it has no `/metrics`."""
        try:
            response = _get(f"{self.url}/metrics")
        except ResourceError:
            return {}
        return read_metrics(response.text) if response.status_code == 200 else {}


def read_metrics(text: str) -> dict[str, float]:
    """The sum of each metric's samples in the text format of Prometheus."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        name = name.partition("{")[0]
        if not name or line.startswith("#"):
            continue
        try:
            found[name] = found.get(name, 0.0) + float(value)
        except ValueError:
            continue
    return found


@dataclass
class Seen:
    """The most that a server said while it was watched; empty if it says nothing.

    Attributes:
        most: of each gauge.
        preempted: requests preempted meanwhile.
    """

    most: dict[str, float] = field(default_factory=dict)
    preempted: int | None = None

    def whole(self, name: str) -> int | None:
        """A gauge that counts."""
        return int(self.most[name]) if name in self.most else None


@contextmanager
def watched(endpoint: Endpoint) -> Iterator[Seen]:
    """Look at a server's gauges until the block is left."""
    seen, done = Seen(), threading.Event()
    before = endpoint.metrics()

    def look() -> dict[str, float]:
        now = endpoint.metrics()
        for name in (RUNNING, WAITING, KV):
            if name in now:
                seen.most[name] = max(now[name], seen.most.get(name, 0.0))
        return now

    def watch() -> None:
        while not done.wait(INTERVAL):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
        after = look()
        if PREEMPTIONS in after:
            seen.preempted = int(after[PREEMPTIONS] - before.get(PREEMPTIONS, 0.0))


def _on_loopback(url: str) -> str:
    """The address without its path, `/v1` or `/`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadInputError(f"{url}: not the address of a server: {error}") from None
    if parts.scheme != "http" or not host or parts.path.strip("/") not in ("", "v1"):
        raise BadInputError(
            f"{url}: not the address of a server: give one such as http://127.0.0.1:8000"
        )
    if not _is_loopback(host):
        raise RefusedError(
            f"{url}: another machine: a load is only sent to servers on this one, such as "
            "http://127.0.0.1:8000"
        )
    return f"http://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _get(url: str) -> Any:
    key = os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        # No proxy: the server is on this machine.
        with httpx.Client(trust_env=False, timeout=SECONDS) as client:
            return client.get(url, headers=headers)
    except httpx.HTTPError as error:
        raise ResourceError(
            f"{url}: no answer ({type(error).__name__}): start the server first, such as with "
            "vllm serve DIR"
        ) from None
