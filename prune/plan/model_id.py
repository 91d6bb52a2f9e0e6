"""The identity of a model in plans, traces and runs: its geometry and the hash of its files."""

from typing import Annotated, Any

from pydantic import Field

from prune.io.closed import ClosedModel

MAX_LAYERS = 1024


class ModelId(ClosedModel):
    """What a plan or trace was made for.

    `sha256` covers config and weights; without it the plan fits any model of this geometry.
    """

    name: str
    model_type: str | None = None
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    num_kv_heads: Annotated[int, Field(ge=1, le=1024)]
    sha256: str | None = None


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
