"""`Load`: how hard servers are asked, and for how long."""

from dataclasses import dataclass

from prune.errors import UsageError

MOST = 1024
"""Clients, or requests per second, of a level; and requests of the least."""


@dataclass(frozen=True)
class Load:
    """What `prune bench --endpoint` sends.

    Attributes:
        endpoint: address of a server on this machine, such as `http://127.0.0.1:8000`.
        clients: numbers of clients that each send their next request when the last is answered.
        rates: requests per second that arrive at random, however many wait.
        requests: of a run, at least.
        tokens: of every answer.
        minutes: for everything.
    """

    endpoint: str
    clients: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    requests: int = 8
    tokens: int = 32
    minutes: float = 20.0

    def __post_init__(self) -> None:
        levels = (*self.clients, *self.rates)
        if not levels:
            raise UsageError("--endpoint: say how hard to ask: --clients 1,2,4 or --rates 0.5,1")
        if not all(0 < level <= MOST for level in levels):
            raise UsageError(f"--clients and --rates: numbers above 0, {MOST} at most")
        if not 1 <= self.requests <= MOST:
            raise UsageError(f"--requests {self.requests}: 1 to {MOST}")
