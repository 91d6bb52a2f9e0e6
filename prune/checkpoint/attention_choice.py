"""The attention that the environment asks for, tried before weights are read."""

import os

import torch

from prune.errors import ResourceError, UsageError
from prune.kernels import segment_attention
from prune.kernels.segment_attention.dispatch import IMPLS

VARIABLE = "PRUNE_ATTENTION"


def check_attention() -> None:
    """Run the attention that `PRUNE_ATTENTION` names on one token, where it names one.

    Raises:
        UsageError: there is no such attention.
        ResourceError: it cannot run on this machine, or its kernel cannot be compiled.
    """
    name = os.environ.get(VARIABLE, "auto")
    if name not in IMPLS:
        raise UsageError(f"{VARIABLE}={name}: expected {', '.join(IMPLS)}")
    if name == "auto":
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    one = torch.zeros(1, 1, 1, 16, device=device)
    role, frame = torch.zeros(1, 1, dtype=torch.int8), torch.full((1, 1), -1, dtype=torch.int32)
    try:
        segment_attention(one, one, one, role, frame, torch.zeros(1, 1, 1, dtype=torch.int32))
    except Exception as error:  # compilers fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ResourceError(
            f"{VARIABLE}={name} cannot run on this machine: {reason}: unset it, or name another "
            f"({', '.join(IMPLS)})"
        ) from None
