"""The base model and the licence of a model folder, from its model card or its licence file."""

import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.repocard import metadata_load

CARD = "README.md"
KEYS = ("base_model", "license", "license_name", "license_link")
"""Keys of a model card's front matter, as the hub defines them."""
MAX_CARD = 2**20
"""Bytes of a model card; larger ones are not read."""

_PLAIN = re.compile(r"[\w./:@+-]{1,256}")
_LICENSES = {"apache-2.0": "Apache License", "mit": "MIT License"}
_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


def origin_of(folder: Path, hub_id: str | None = None) -> dict[str, str]:
    """What a folder says of its origin, under `KEYS`; a key that it does not state is absent.

    Args:
        folder: a model folder, also one that prune exported.
        hub_id: where the folder is from; it is then the base model of what is made of it.
    """
    card = _front_matter(folder / CARD)
    origin = {key: text for key in KEYS if _PLAIN.fullmatch(text := _one(card.get(key)))}
    if hub_id is not None:
        origin["base_model"] = hub_id
    file = next((name for name in _FILES if (folder / name).is_file()), None)
    if file is not None and "license" not in origin:
        with open(folder / file, encoding="utf-8", errors="replace") as lines:
            start = lines.read(200)
        known = [name for name, title in _LICENSES.items() if title in start]
        origin |= {"license": known[0]} if known else {"license": "other", "license_link": file}
    return origin


def _one(value: Any) -> str:
    """A value of the front matter as text, also where it is a list of one."""
    return str(value[0] if isinstance(value, list) and len(value) == 1 else value or "")


def _front_matter(card: Path) -> dict[str, Any]:
    """The front matter of a model card; empty if there is none that can be read."""
    if not card.is_file() or card.stat().st_size > MAX_CARD:
        return {}
    try:
        return metadata_load(card) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
