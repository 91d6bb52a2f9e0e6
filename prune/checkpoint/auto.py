"""The hook by which transformers' own loaders run an export's plan once prune is imported.

`AutoModel...from_pretrained`, `pipeline` and `transformers serve` all load models through
`PreTrainedModel.from_pretrained`. Subclasses of transformers' models would load wrong weights, and
transformers has no entry points for plug-ins, so that one method is wrapped: what it returns is
unchanged, unless its configuration names a plan, which is then made active (`bind`).

`import prune` imports neither torch nor transformers. If transformers is not there yet, a finder
waits for the module of that class and wraps the method right after the module has run.
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
    """Wrap the loader now if its module is imported, else as soon as it is."""
    if HOME in sys.modules:
        _wrap(sys.modules[HOME])
    else:
        sys.meta_path.insert(0, _AfterImport())


class _AfterImport(MetaPathFinder):
    """Finds `HOME` as Python does, and wraps its class once it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname != HOME:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_wrap(module: ModuleType) -> None:
            run(module)
            sys.meta_path.remove(self)
            _wrap(module)

        spec.loader.exec_module = run_and_wrap  # type: ignore[method-assign]
        return spec


def _wrap(module: ModuleType) -> None:
    kind = module.PreTrainedModel
    plain = kind.from_pretrained.__func__

    @wraps(plain)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        # Registers the attention that a configuration may name.
        from prune.runtime.attention import ATTENTION_NAME

        # transformers empties the arguments.
        given = dict(kwargs)
        loaded = plain(cls, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        text = getattr(model.config, "text_config", model.config)
        if hasattr(model.config, "attention_pruning") or (
            getattr(text, "_attn_implementation", None) == ATTENTION_NAME
        ):
            from prune.checkpoint.bind import bind

            bind(model, given)
        return loaded

    kind.from_pretrained = classmethod(from_pretrained)
