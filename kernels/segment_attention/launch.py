"""Launches of compiled kernels with little work on the host.

Triton inspects every argument of every launch, which takes longer than a short kernel runs. Here
the integers of a kernel are not specialized, so that its dtype, its constants and the alignment of
its pointers name the compiled variant; from the second launch on it is called directly.
"""

from typing import Any

import torch
from torch import Tensor

OPTIONS = {"enable_fp_fusion": True}
"""Compiler options of all kernels: the scale and the shift of a score are one instruction."""


class Launch:
    """A launch of a kernel, but for the tensors that are its first arguments.

    Args:
        kernel: a `triton.jit` function, compiled or interpreted.
        grid: number of programs, in two dimensions.
        rest: the other tensors, which start at 16 bytes, and the numbers.
        constants: its constexprs.
        options: of the compiler, those that not all kernels share.
    """

    def __init__(
        self,
        kernel: Any,
        grid: tuple[int, int],
        rest: tuple[Any, ...],
        constants: tuple[Any, ...],
        options: dict[str, int],
    ) -> None:
        self._kernel, self._grid, self._options = kernel, grid, {**options, **OPTIONS}
        self._rest = (*rest, *constants)
        self._run: Any = None

    def __call__(self, tensors: tuple[Tensor, ...]) -> None:
        """Run it on the device of `tensors`, all of one device and of the dtypes of other calls."""
        first = tensors[0]
        if first.is_cuda and first.device.index != torch.cuda.current_device():
            with torch.cuda.device(first.device):
                self(tensors)
            return
        aligned = all(x.data_ptr() % 16 == 0 for x in tensors)
        if aligned and self._run is not None:
            self._run(*tensors, *self._rest)
            return
        compiled = self._kernel[self._grid](*tensors, *self._rest, **self._options)
        # The interpreter compiles nothing.
        if aligned and compiled is not None:
            self._run = compiled[(*self._grid, 1)]
