"""The plan of an export in transformers' own loaders: `AutoModel...from_pretrained`, `pipeline`.

`config.json` of an export names an attention that transformers alone does not know, so that it
stops there. After `import prune` the name is known, and the model is put under its plan as soon as
transformers has loaded it.
"""

import sys
from collections.abc import Sequence
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

HOME = "transformers.modeling_utils"
"""The module whose `PreTrainedModel` loads every model."""


def install() -> None:
    """Have transformers' loaders attach plans: now if it is imported, else when it is."""
    if HOME in sys.modules:
        _wrap(sys.modules[HOME])
    elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


class _AfterImport(MetaPathFinder):
    """Finds `HOME` like everyone else, and wraps its loader once it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname != HOME:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_wrap(module: ModuleType) -> None:
            run(module)
            _wrap(module)

        spec.loader.exec_module = run_and_wrap  # type: ignore[method-assign]
        return spec


def _wrap(module: ModuleType) -> None:
    kind = module.PreTrainedModel
    plain = kind.from_pretrained.__func__
    if getattr(plain, "attaches_plans", False):
        return

    @wraps(plain)
    def from_pretrained(cls: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        # Registers the attention's name, which a configuration may hold.
        from prune.checkpoint.load import attach_stored

        loaded = plain(cls, name, *args, **kwargs)
        attach_stored(loaded[0] if isinstance(loaded, tuple) else loaded, name)
        return loaded

    from_pretrained.attaches_plans = True  # type: ignore[attr-defined]
    kind.from_pretrained = classmethod(from_pretrained)
