"""The limit on failed samples, as a number or as a share of all."""

import re
from collections.abc import Mapping

from prune.errors import TooManyFailedError, UsageError

MAX_FAILED = "1%"
"""The default; a single failed sample is always allowed."""


def check_failed(failed: Mapping[str, str], total: int, limit: str = MAX_FAILED) -> None:
    """Check that no more samples failed than the limit allows.

    Args:
        failed: the reason by id of each failed sample.
        total: number of samples, the failed ones included.
        limit: a number such as `5`, or a share of all such as `1%`, which is at least one sample.

    Raises:
        UsageError: the limit is neither.
        TooManyFailedError: more failed; the limit and a sample are named.
    """
    allowed = _allowed(limit, total)
    if len(failed) > allowed:
        name, reason = next(iter(failed.items()))
        raise TooManyFailedError(
            f"{len(failed)} of {total} samples failed, --max-failed {limit} allows {allowed}: "
            f"the first is {name}: {reason}"
        )


def _allowed(limit: str, total: int) -> int:
    match = re.fullmatch(r"(\d{1,9})|(\d{1,3}(?:\.\d{1,3})?)%", limit.strip())
    if match is None:
        raise UsageError(
            f"--max-failed: expected a number such as 5 or a share such as 1%: {limit}"
        )
    return int(match[1]) if match[1] else max(1, int(total * float(match[2]) / 100))
