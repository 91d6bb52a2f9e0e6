"""The identity of a model folder: its weights, and what else decides the model's answers."""

import hashlib
import json
from pathlib import Path
from typing import Any

from prune.checkpoint.stored_plan import KEY, plain_architectures
from prune.io.files import sha256_of
from prune.io.untrusted import read_json
from prune.plan.model_id import Part

CONFIG = "config.json"
_PARTS: dict[Part, tuple[str, ...]] = {
    "config": (CONFIG,),
    "generation_config": ("generation_config.json",),
    "tokenizer": (
        *("tokenizer*.json", "tokenizer.model", "vocab.*", "merges.txt", "*.tiktoken"),
        *("special_tokens_map.json", "added_tokens.json", "spiece.model"),
    ),
    "template": ("chat_template.*", "chat_templates/*", "additional_chat_templates/*"),
    "processor": ("*processor_config.json",),
}
_SILENT = {"transformers_version", "name_or_path", "_name_or_path", "attn_implementation", KEY}
"""Keys that decide nothing, and those that an export adds."""


def weights_sha256(folder: Path) -> str:
    """One hash over all weight files of a model folder, in order of name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def config_of(folder: Path) -> dict[str, Any]:
    """What the `config.json` of a model folder says of the model itself."""
    config = read_json(folder / CONFIG, "a model configuration")
    if "architectures" in config:
        config["architectures"] = plain_architectures(config)
    return {key: value for key, value in config.items() if key not in _SILENT}


def parts_of(folder: Path) -> dict[Part, str]:
    """A hash for each part of a model folder that has files, weights aside.

    `config.json` counts by its content: an export has the parts of its source.

    Raises:
        BadInputError: `config.json` cannot be read.
    """
    found: dict[Part, str] = {}
    for part, patterns in _PARTS.items():
        paths = sorted({path for pattern in patterns for path in folder.glob(pattern)})
        if paths:
            content = {path.relative_to(folder).as_posix(): _content(path) for path in paths}
            text = json.dumps(content, sort_keys=True)
            found[part] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _content(path: Path) -> Any:
    return config_of(path.parent) if path.name == CONFIG else sha256_of(path)
