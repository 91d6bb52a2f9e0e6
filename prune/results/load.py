"""What servers answered under load, as rows of a table, a figure and a report."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from statistics import median
from typing import Any, Literal

Loop = Literal["closed", "open"]


@dataclass(frozen=True)
class Level:
    """How hard a server is asked.

    Attributes:
        loop: `closed` if a number of clients each send a request when their last one is answered,
            `open` if requests arrive at random at a rate, however many wait.
        value: that number of clients, or requests per second.
    """

    loop: Loop
    value: float

    def __str__(self) -> str:
        """For example `4 clients`, or `0.5 requests/s`."""
        unit = "requests/s" if self.loop == "open" else "client" + "s" * (self.value != 1)
        return f"{self.value:g} {unit}"


@dataclass(frozen=True)
class LoadRow:
    """One run of one server at one level.

    Attributes:
        server: `dense` or `pruned`, or `served` if neither is known.
        run: counts from 0; the servers of a comparison take turns in each.
        requests: sent.
        completed: answered in full.
        rejected: refused by a server that has no room (status 429 or 503).
        failed: that ended otherwise.
        tokens: of the completed requests' answers.
        requests_per_second, tokens_per_second: completed ones, and what they generated.
        first_p50, first_p95: ms to the first token; None without a completed request.
        token_p50, token_p95: ms between two tokens, over all gaps of all requests.
        whole_p50, whole_p95: ms to the last token.
        later_p50: ms for each token behind the first of an answer, its mean; None where every
            answer came all at once.
        running, waiting: most requests at once that the server said it ran, and held back; None
            where it says nothing.
        kv_share: most of its KV cache that was in use, between 0 and 1.
        preempted: requests that lost their keys and were computed again.
    """

    server: str
    level: Level
    run: int
    requests: int
    completed: int
    rejected: int
    failed: int
    tokens: int
    requests_per_second: float
    tokens_per_second: float
    first_p50: float | None
    first_p95: float | None
    token_p50: float | None
    token_p95: float | None
    whole_p50: float | None
    whole_p95: float | None
    later_p50: float | None
    running: int | None = None
    waiting: int | None = None
    kv_share: float | None = None
    preempted: int | None = None


MEASURED = [field.name for field in fields(LoadRow)][8:]
"""Fields that are measured, of which medians are taken."""


@dataclass(frozen=True)
class LoadReport:
    """The rows of one command and their conditions: servers, data, versions, settings."""

    rows: tuple[LoadRow, ...]
    conditions: dict[str, str]

    @property
    def servers(self) -> list[str]:
        """By name, in the order in which they were asked."""
        return list(dict.fromkeys(row.server for row in self.rows))

    @property
    def levels(self) -> list[Level]:
        """In the order in which they were run."""
        return list(dict.fromkeys(row.level for row in self.rows))

    def at(self, server: str, level: Level) -> list[LoadRow]:
        """The runs of a server at a level."""
        return [row for row in self.rows if (row.server, row.level) == (server, level)]

    def typical(self, server: str, level: Level, name: str) -> float | None:
        """The median over runs of a field; None where no run has it."""
        return typical(self.at(server, level), name)


def load_lines(report: LoadReport) -> list[dict[str, Any]]:
    """A line per level and server: medians over runs by field, and counts over all of them."""
    lines: list[dict[str, Any]] = []
    for level in report.levels:
        for server in report.servers:
            rows = report.at(server, level)
            lost = sum(row.rejected + row.failed for row in rows)
            counts = {"requests": sum(row.requests for row in rows), "lost": lost}
            medians = {name: typical(rows, name) for name in MEASURED}
            lines.append({"level": level, "server": server, **counts, **medians})
    return lines


def typical(rows: Iterable[LoadRow], name: str) -> float | None:
    """The median of a field over rows, None where none has it."""
    found = [value for row in rows if (value := getattr(row, name)) is not None]
    return float(median(found)) if found else None
