"""Functions that `torch.compile` leaves to Python, since they read layouts on the host."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch._C._dynamo.eval_frame import get_eval_frame_callback

_Function = TypeVar("_Function", bound=Callable[..., Any])


def eager(function: _Function) -> _Function:
    """Leave a function and all that it calls as they are."""
    left = torch.compiler.disable(function)

    @eager_itself
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        # Where nothing is compiled, torch's own wrapper would cost a layer more than its hooks do.
        compiled = get_eval_frame_callback() is not None
        return left(*args, **kwargs) if compiled else function(*args, **kwargs)

    return run  # type: ignore[return-value]


def eager_itself(function: _Function) -> _Function:
    """Leave a function as it is; what it calls is compiled. It costs nothing where nothing is."""
    left: _Function = torch.compiler.disable(function, recursive=False)
    return left
