"""Counters of a served plan beside vLLM's own, at its `/metrics`.

The scheduler counts, in a process of its own; what it tells the API server is a closed record of
vLLM's. The counts travel in the one entry of it that is a table, and are taken out here before
vLLM's own loggers see them.
"""

from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

from prometheus_client import Counter, Gauge
from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.stats import SchedulerStats

_PREFIX = "prune:"


@dataclass
class Counts:
    """What happened since the last report.

    Attributes:
        states_computed: token states (tokens times layers) that were computed.
        states_keys_only: those of which a layer computed keys and values alone.
        states_dense: those that the dense model computes for the same tokens.
        blocks_freed: KV blocks that requests gave back while they ran on.
        dense_requests: requests with a video that ran dense, since their roles are not known.
        layers: decoder layers in which the plan removes edges.
    """

    states_computed: int = 0
    states_keys_only: int = 0
    states_dense: int = 0
    blocks_freed: int = 0
    dense_requests: int = 0
    layers: int = 0

    def put_into(self, stats: SchedulerStats) -> None:
        """Hand the counts to the API server."""
        named = {f"{_PREFIX}{name}": value for name, value in asdict(self).items()}
        stats.num_kv_fetch_reqs_by_stage |= named

    @staticmethod
    def take_from(stats: SchedulerStats) -> "Counts | None":
        """The counts of a scheduler; None if it serves no plan."""
        table = stats.num_kv_fetch_reqs_by_stage
        found = {field.name: table.pop(f"{_PREFIX}{field.name}", None) for field in fields(Counts)}
        return None if None in found.values() else Counts(**found)


@cache
def _metrics() -> dict[str, Any]:
    """By name; made once a plan is served, since a process may have each only once."""
    about = {
        "states_computed": "Token states (tokens times layers) that were computed.",
        "states_keys_only": "Token states of which keys and values alone were computed.",
        "states_dense": "Token states that the dense model computes for the same tokens.",
        "blocks_freed": "KV blocks that requests gave back while they ran on.",
        "dense_requests": "Requests with a video that ran dense: their roles are not known.",
    }
    counters = {name: Counter(f"prune_{name}", text) for name, text in about.items()}
    layers = Gauge("prune_layers", "Decoder layers in which the plan removes edges.")
    return {**counters, "layers": layers}


class PruneStatLogger(StatLoggerBase):
    """vLLM's plug-in for statistics, by the entry point `vllm.stat_logger_plugins`."""

    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        pass

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """See `StatLoggerBase`."""
        counts = None if scheduler_stats is None else Counts.take_from(scheduler_stats)
        if counts is None:
            return
        for name, value in asdict(counts).items():
            metric = _metrics()[name]
            metric.set(value) if name == "layers" else metric.inc(value)

    def log_engine_initialized(self) -> None:
        """See `StatLoggerBase`."""
