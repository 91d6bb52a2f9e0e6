"""Errors a user can act on: one line that says what, where and what to do, and its exit code."""

DISTRIBUTION = "prune-videollm"


def install_extra(extra: str) -> str:
    """The command that installs one of the optional extras, for messages."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


class PruneError(Exception):
    """Base of every error that ends a command with one line instead of a traceback."""

    exit_code = 1


class UsageError(PruneError):
    """The command's arguments do not fit together."""

    exit_code = 2


class BadInputError(PruneError):
    """A model, video, data set, trace or plan cannot be read or is not valid."""

    exit_code = 3


class RefusedError(PruneError):
    """The inputs are valid but do not belong together, or the target must not be touched."""

    exit_code = 4


class SamplesFailedError(PruneError):
    """The command finished, but the listed samples could not be used."""

    exit_code = 5


class ResourceError(PruneError):
    """Memory or disk ran out."""

    exit_code = 6


class NumericError(PruneError):
    """The model produced NaN or infinity."""

    exit_code = 7


class VerificationError(PruneError):
    """A file differs from its manifest."""

    exit_code = 8


class TooManyFailedError(PruneError):
    """More samples failed than the limit allows; what was measured on the others is kept."""

    exit_code = 9


class ThresholdError(PruneError):
    """A result misses a threshold that the command was given; it is printed and kept."""

    exit_code = 10


class DefectError(PruneError):
    """An exception that nobody foresaw: a defect of prune or of a library below it."""

    exit_code = 70
