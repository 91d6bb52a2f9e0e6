"""prune: make video language models cheaper by removing the attention edges they do not need.

Shapes in docstrings: `B` batch, `S` sequence, `L` layers, `Hq`/`Hkv` query and KV heads, `D` head
dimension, `R` roles, `G` KV groups of a plan (1 or Hkv), `T` frames. Layers are 0-based in code and
1-based in figures.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prune.checkpoint.auto import install

if TYPE_CHECKING:
    from prune.checkpoint.load import load
    from prune.errors import (
        BadInputError,
        DefectError,
        NumericError,
        PruneError,
        RefusedError,
        ResourceError,
        SamplesFailedError,
        ThresholdError,
        TooManyFailedError,
        UsageError,
        VerificationError,
    )
    from prune.inputs.ask import ask
    from prune.inputs.video import load_video
    from prune.layout.segments import Role, Segments, segment
    from prune.plan.plan import Plan
    from prune.runtime.apply import apply
    from prune.runtime.launches import launches

__version__ = "0.1.0"
__all__ = [
    "BadInputError",
    "DefectError",
    "NumericError",
    "Plan",
    "PruneError",
    "RefusedError",
    "ResourceError",
    "Role",
    "SamplesFailedError",
    "Segments",
    "ThresholdError",
    "TooManyFailedError",
    "UsageError",
    "VerificationError",
    "apply",
    "ask",
    "launches",
    "load",
    "load_video",
    "segment",
]

_HOMES = {
    "Plan": "prune.plan.plan",
    "Role": "prune.layout.segments",
    "Segments": "prune.layout.segments",
    "apply": "prune.runtime.apply",
    "ask": "prune.inputs.ask",
    "launches": "prune.runtime.launches",
    "load": "prune.checkpoint.load",
    "load_video": "prune.inputs.video",
    "segment": "prune.layout.segments",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `import prune` is quick and `import prune.kernels` needs torch alone.
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "prune.errors")), name)
    raise AttributeError(f"module 'prune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


install()
