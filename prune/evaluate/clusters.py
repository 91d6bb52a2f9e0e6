"""Clusters of questions about one video: how many independent samples they are worth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def codes_of(videos: Sequence[str] | None, n: int) -> NDArray[np.int64]:
    """A number per sample, `[n]`, the same for samples about the same video.

    Args:
        videos: a key per sample (`prune.inputs.video_key`); None if each has a video of its own.
        n: how many samples there are.
    """
    if videos is None:
        return np.arange(n)
    assert len(videos) == n, "one video per sample"
    codes: NDArray[np.int64] = np.unique(np.asarray(videos), return_inverse=True)[1]
    return codes


def effective_size(values: NDArray[np.float64], videos: NDArray[np.int64]) -> float:
    """The number of independent samples whose mean varies as much as the mean of `values`.

    It is the number of samples over the design effect, the ratio of the variance between videos to
    that of independent samples (Rao and Scott, Biometrics 1992; Korn and Graubard 1998). Where few
    answers change, the design effect cannot be estimated. So one changed answer is added whose
    design effect is the largest possible, that of videos that change as a whole: without any change
    the samples are worth about as many as there are videos. The result is never over the number of
    samples, and exactly that if each has a video of its own.

    Args:
        values: one per sample, `[n]`.
        videos: of `codes_of`, `[n]`.
    """
    n = len(values)
    sizes = np.bincount(videos)
    count, largest = len(sizes), float(sizes @ sizes) / n
    if count == n:
        return float(n)
    if count == 1:
        return 1.0
    centred = values - values.mean()
    sums = np.bincount(videos, weights=centred)
    # Both sums of squares around an estimated mean are too small: one degree of freedom each.
    between = float(sums @ sums) * count / (count - 1)
    within = float(centred @ centred) * n / (n - 1)
    return n / max(1.0, (between + largest) / (within + 1))


def spread(values: NDArray[np.float64], videos: NDArray[np.int64]) -> float:
    """Standard deviation of independent samples whose mean has the standard error of this one.

    Divided by the root of the number of samples it is the standard error by video. A single video
    says nothing about others: its whole mean is the error.

    Args:
        values: one per sample, `[n]`.
        videos: of `codes_of`, `[n]`.
    """
    n = len(values)
    count = int(videos.max()) + 1
    if count == n:
        return float(values.std())
    if count == 1:
        return float(abs(values.sum()) / n**0.5)
    sums = np.bincount(videos, weights=values - values.mean())
    return float((sums @ sums * count / (count - 1) * (n - 1)) ** 0.5 / n)
