"""Numbers of a trace as its journal holds them."""

from typing import Any

from torch import Tensor

from prune.errors import NumericError


def mapped(number: Any, values: Tensor) -> Any:
    """A tensor as nested lists, each item by `number`."""
    return [mapped(number, v) if v.ndim else number(v) for v in values.cpu()]


def probability(logp: Tensor) -> float:
    """A probability from its logarithm; raises `NumericError` if it is none."""
    value = float(logp.double().exp())
    if not 0 <= value <= 1.000001:
        raise NumericError(f"probability {value} is not between 0 and 1")
    # Six digits: far below the effects, and short enough for a readable journal.
    return float(f"{value:.6g}")


def nats(value: Tensor) -> float:
    """A number of nats."""
    # To a millionth, for the same reason; adding 0 turns -0.0 into 0.0.
    return round(float(value), 6) + 0.0
