"""Model families, one small file each; a file in this folder registers its family."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from prune.errors import BadInputError
from prune.families.family import Family


@cache
def families() -> dict[str, Family]:
    """All known families by `config.model_type`."""
    names = [module.name for module in iter_modules(__path__) if module.name != "family"]
    found = [import_module(f"{__name__}.{name}").FAMILY for name in sorted(names)]
    return {family.model_type: family for family in found}


def video_families() -> list[str]:
    """Model types of the families whose videos a plan can prune."""
    return [
        name for name, family in families().items() if family.shows_video and not family.refusal
    ]


def family_of_model_type(model_type: str) -> Family:
    """The family of a model; raises `BadInputError` naming the known ones."""
    if model_type not in families():
        known = ", ".join(families())
        raise BadInputError(
            f"unsupported model type {model_type!r}: known families are {known}; "
            "a family is one file in prune/families"
        )
    return families()[model_type]


def family_of_processor(processor: Any) -> Family:
    """The family whose processor this is; raises `BadInputError` naming the known ones."""
    name = type(processor).__name__
    for family in families().values():
        if name in family.processors:
            return family
    known = ", ".join(p for family in families().values() for p in family.processors)
    raise BadInputError(f"unsupported processor {name}: known processors are {known}")


__all__ = ["Family", "families", "family_of_model_type", "family_of_processor", "video_families"]
