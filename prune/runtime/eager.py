"""Functions that `torch.compile` leaves to Python, since they read layouts on the host."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def eager(function: _Function) -> _Function:
    """Leave a function and all that it calls as they are."""
    left: _Function = torch.compiler.disable(function)
    return left


def eager_itself(function: _Function) -> _Function:
    """Leave a function as it is; what it calls is compiled. It costs nothing where nothing is."""
    left: _Function = torch.compiler.disable(function, recursive=False)
    return left
