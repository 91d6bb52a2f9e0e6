"""Servers under load, in turn, within a count of requests and a time."""

import math
import time
from collections.abc import Callable, Mapping, Sequence

from prune.bench.chats import Message
from prune.bench.driver import OutOfTimeError, drive
from prune.bench.endpoint import Endpoint
from prune.inputs.load import Load
from prune.results.load import Level, LoadRow

EACH = 2
"""Requests of every client."""

ARRIVALS = 10.0
"""Seconds in which requests arrive in an open loop."""

Ask = Callable[[Sequence[int]], list[list[Message]]]
"""The requests of some numbers."""


def count_of(level: Level, least: int) -> int:
    """The requests of a run: `EACH` per client, or `ARRIVALS` seconds of them; `least` at least."""
    wanted = EACH * level.value if level.loop == "closed" else ARRIVALS * level.value
    return max(least, math.ceil(wanted))


def levels_of(load: Load) -> list[Level]:
    """Closed loops, then open ones, in the order given."""
    closed = [Level("closed", number) for number in load.clients]
    return [*closed, *(Level("open", rate) for rate in load.rates)]


def measure(
    servers: Mapping[str, Endpoint],
    load: Load,
    ask: Ask,
    runs: int = 1,
    on_done: Callable[[int, str], None] = lambda n, note: None,
) -> list[LoadRow]:
    """Ask every server the same, at every level, and no server anything twice.

    Each server answers one request beforehand, which no row counts.

    Args:
        servers: by name; they take turns, and every other run begins with the last.
        load: levels, counts and the time for everything. What is not done by then has no row, nor
            has the same run of another server.
        ask: makes the requests.
        runs: of each level and server.
        on_done: called after each run of all servers, with what was run.

    Raises:
        ResourceError: the driver cannot ask a server.
    """
    end, number = time.monotonic() + 60 * load.minutes, 1
    rows: list[LoadRow] = []

    def run_of(name: str, asked: Sequence[Sequence[Message]], level: Level, run: int) -> LoadRow:
        left = end - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        return drive(servers[name], name, asked, level, run, tokens=load.tokens, seconds=left)

    try:
        for name in servers:
            run_of(name, ask([0]), Level("closed", 1), 0)
        for level in levels_of(load):
            for run in range(runs):
                count = count_of(level, load.requests)
                asked = ask(range(number, number + count))
                number += count
                turn = list(servers)[:: 1 if run % 2 == 0 else -1]
                found = {name: run_of(name, asked, level, run) for name in turn}
                rows += [found[name] for name in servers]
                on_done(1, str(level))
    except OutOfTimeError:
        pass
    return rows
