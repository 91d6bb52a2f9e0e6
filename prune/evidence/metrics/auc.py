"""Areas under insertion and deletion curves (2509.22496, section 4: metrics)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune.evidence.curves import Curves

SENSITIVE = 0.2
"""A token counts as sensitive if the clip raises its probability by more than this."""


def insertion_auc(curve: Curves, tokens: Sequence[int]) -> float:
    """Area under the mean probability of `tokens` over the share of the clip that is shown."""
    return float(np.trapezoid(curve.insertion[:, list(tokens)].mean(1), curve.area))


def deletion_auc(curve: Curves, tokens: Sequence[int]) -> float:
    """Area under the mean probability of `tokens` over the share of the clip that is removed."""
    return float(np.trapezoid(curve.deletion[:, list(tokens)].mean(1), curve.area))


def highest_confidence(curve: Curves, tokens: Sequence[int]) -> float:
    """The greatest mean probability of `tokens` along the insertion curve, the empty clip's too."""
    return float(curve.insertion[:, list(tokens)].mean(1).max())


def sensitive_tokens(curve: Curves, tokens: Sequence[int]) -> list[int]:
    """Those of `tokens` that the clip makes likelier than the text alone does, by `SENSITIVE`."""
    gain: NDArray[np.float64] = curve.insertion[-1] - curve.insertion[0]
    return [token for token in tokens if gain[token] > SENSITIVE]


def scores(curve: Curves, tokens: Sequence[int]) -> dict[str, float | None]:
    """All of the above; the `sensitive_` ones are `None` where no token is sensitive."""
    sensitive = sensitive_tokens(curve, tokens)
    return {
        "insertion_auc": insertion_auc(curve, tokens),
        "deletion_auc": deletion_auc(curve, tokens),
        "highest_confidence": highest_confidence(curve, tokens),
        "sensitive_insertion_auc": insertion_auc(curve, sensitive) if sensitive else None,
        "sensitive_deletion_auc": deletion_auc(curve, sensitive) if sensitive else None,
    }
