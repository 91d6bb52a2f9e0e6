"""Which model this is: geometry from its config, identity from its bytes."""

import hashlib
from pathlib import Path
from typing import Any

from prune.files import sha256_of
from prune.plan.schema import ModelId


def geometry(model: Any, name: str = "this model", sha256: str | None = None) -> ModelId:
    """Layers and KV heads of a loaded model."""
    text = model.config.text_config
    return ModelId(
        name=name,
        model_type=model.config.model_type,
        num_layers=text.num_hidden_layers,
        num_kv_heads=text.num_key_value_heads or text.num_attention_heads,
        sha256=sha256,
    )


def weights_sha256(folder: Path) -> str:
    """One hash over all weight files of a model folder, in order of name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{sha256_of(path)}\n".encode())
    return digest.hexdigest()
