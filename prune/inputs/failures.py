"""What an exception while one sample is handled means: the sample's failure, or the run's end."""

import errno
from dataclasses import dataclass

import torch

from prune.errors import DefectError, PruneError, ResourceError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True)
class Failure:
    """Why a sample could not be used.

    Attributes:
        reason: one line.
        exit_code: that of the command if all samples fail in this way.
    """

    reason: str
    exit_code: int

    @staticmethod
    def of(error: Exception) -> "Failure":
        """The failure of the sample that was handled; raises `error` again if it is the run's.

        A disk or a memory that is full, a GPU whose context is lost, and a kernel that cannot be
        compiled concern every sample.
        """
        full = isinstance(error, OSError) and error.errno in DISK_FULL
        if (
            full
            or out_of_memory(error)
            or isinstance(error, (ResourceError, torch.AcceleratorError))
        ):
            raise error
        if isinstance(error, PruneError):
            return Failure(str(error), error.exit_code)
        return Failure(describe(error), DefectError.exit_code)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: a GPU's, or the machine's, for which torch has no class."""
    said = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return said or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def not_compiled(error: BaseException) -> bool:
    """Whether Triton could not compile a kernel."""
    return type(error).__module__.partition(".")[0] == "triton"


def describe(error: BaseException) -> str:
    """An unexpected exception in one line: its type and text, and where prune met it."""
    text = " ".join(str(error).split())[:300]
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "prune" in code.co_filename:
            place = f" ({code.co_filename.rsplit('/prune/', 1)[-1]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {text}{place}"
