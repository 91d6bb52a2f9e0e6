"""Comparison of a configuration's sizes with the weights beside it, before memory is used for them.

Transformers builds what a configuration describes, and fills what the weights lack at random.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prune.errors import BadInputError
from prune.io.untrusted import LAYER_KEYS

_DIMENSIONS = {"hidden_size", "intermediate_size", "vocab_size"}


def check_sizes(
    folder: Path, config: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]
) -> None:
    """Check that a model is not larger than its weights.

    Args:
        folder: the model's.
        config: content of its `config.json`.
        shapes: of the tensors in its weights, by name.

    Raises:
        BadInputError: it has more layers than tensors are numbered, or its text model a dimension
            over every tensor's.
    """
    numbers = [int(part) for name in shapes for part in re.findall(r"\d{1,6}", name)]
    most = {
        **dict.fromkeys(LAYER_KEYS, max(numbers, default=-1) + 1),
        **dict.fromkeys(
            _DIMENSIONS, max((n for shape in shapes.values() for n in shape), default=0)
        ),
    }
    for place, key, value in _sizes(config):
        if value > most[key]:
            raise BadInputError(
                f"{folder}/config.json: {place}{key} is {value}, but the weights beside it have at "
                f"most {most[key]}: get the folder again from its source"
            )


def _sizes(config: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Place, key and value of the sizes that decide how much memory a model takes."""
    for part, section in (("", config), *config.items()):
        if isinstance(section, dict):
            keys = LAYER_KEYS | (_DIMENSIONS if part == "text_config" else set())
            for key in sorted(keys & section.keys()):
                if type(section[key]) is int:
                    yield f"{part}." if part else "", key, section[key]
