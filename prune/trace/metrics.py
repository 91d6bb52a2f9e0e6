"""Metrics of a knockout: numbers per case, each with its unit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.layout.pathways import Pathway

Values = NDArray[np.float64]
"""By knockout, `[W]`, or `[W, H]` where KV heads are cut one at a time."""


@dataclass(frozen=True)
class Metric:
    """One number per knockout.

    Attributes:
        quantity: its name and unit, for axes.
        of: from a case and a pathway to its values.
        needs: the field of a case without which it has no such number, if there is one.
    """

    quantity: str
    of: Callable[[dict[str, Any], Pathway], Values]
    needs: str = ""

    def is_of(self, case: dict[str, Any]) -> bool:
        """Whether a case has it."""
        return not self.needs or self.needs in case


def _change(of: str) -> Callable[[dict[str, Any], Pathway], Values]:
    """Relative change of a probability in percent (2510.13251, eq. 4)."""
    return lambda case, pathway: 100 * (_read(of)(case, pathway) / case[of] - 1)


def _read(name: str) -> Callable[[dict[str, Any], Pathway], Values]:
    return lambda case, pathway: np.array(case["knockouts"][pathway.name][name], float)


def _accuracy(case: dict[str, Any], pathway: Pathway) -> Values:
    """Correct after the knockout minus correct before it, among the options."""
    after = _read("choice")(case, pathway) == case["true"]
    change: Values = 100.0 * (after.astype(float) - (case["choice"] == case["true"]))
    return change


def _free_accuracy(case: dict[str, Any], pathway: Pathway) -> Values:
    """The same, where any token of the vocabulary may be the answer, as in the paper."""
    letter = case["letters"][case["true"]]
    after = _read("likeliest")(case, pathway) == letter
    change: Values = 100.0 * (after.astype(float) - (case["likeliest"] == letter))
    return change


def _interaction(case: dict[str, Any], pathway: Pathway) -> Values:
    """The effect of joint pathways minus the sum of their individual effects.

    Negative where one compensates for the loss of another (self-repair), positive where they
    carry the same information.
    """
    alone = [case["knockouts"][single.name]["dlogp_answer"] for single in pathway.joined]
    total: Values = np.sum(alone, axis=0)
    return _read("dlogp_answer")(case, pathway) - total


METRICS = {
    "change_answer": Metric("change of answer probability (%)", _change("p_answer")),
    "dlogp_answer": Metric("change of the answer's log-probability (nats)", _read("dlogp_answer")),
    "kl": Metric("KL divergence from the dense model (nats)", _read("kl")),
    "change_true": Metric(
        "change of the true option's probability (%)", _change("p_true"), needs="true"
    ),
    "dlogp_true": Metric(
        "change of the true option's log-probability (nats)", _read("dlogp_true"), needs="true"
    ),
    "accuracy": Metric("change of accuracy over the options (points)", _accuracy, needs="true"),
    "free_accuracy": Metric(
        "change of accuracy over the vocabulary (points)", _free_accuracy, needs="true"
    ),
    "agreement": Metric(
        "tokens of the reply with the same likeliest token (%)", _read("agreement"), needs="reply"
    ),
    "prefix": Metric("tokens before the first other one", _read("prefix"), needs="reply"),
}
"""Metrics of every pathway."""

INTERACTION = Metric("joint minus sum of single knockouts (nats)", _interaction)
"""The metric of pathways that were also cut alone."""
