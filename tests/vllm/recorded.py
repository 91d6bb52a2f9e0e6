"""A forward pass as the operations that it consists of, to be run again without its Python."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Recorded(TorchDispatchMode):
    """What a CUDA graph is on a GPU: tensors and operations, at the addresses that they had.

    Run again, operations read their inputs where they were and leave their results where those
    were. So a pass can be run again for other data exactly if nothing but the data behind the same
    addresses is different, in particular no shape and no decision of the host's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `TorchDispatchMode`."""
        found = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, found))
        return found

    def __len__(self) -> int:
        return len(self._calls)

    def replay(self) -> None:
        """Run all of it again."""
        for func, args, kwargs, found in self._calls:
            _leave(func(*args, **kwargs), found)


def _leave(again: Any, found: Any) -> None:
    """Leave a result where the first one is, unless it is a view of what is there already."""
    if isinstance(found, Tensor):
        assert again.shape == found.shape
        if again.data_ptr() != found.data_ptr():
            found.copy_(again)
    elif isinstance(found, (tuple, list)):
        for one, other in zip(again, found, strict=True):
            _leave(one, other)
    elif found is not None:
        # The host saw a value: in a graph it would stay what it was.
        raise AssertionError(f"a captured pass asked for {found!r}")
