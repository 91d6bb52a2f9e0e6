"""The identity of a model in plans, traces and runs: its geometry and the hash of its files."""

from typing import Annotated, Any, Literal

from pydantic import Field

from prune.io.closed import ClosedModel
from prune.io.untrusted import MAX_LAYERS

Positions = Literal["transformers", "vllm"]
"""Whose rule gives the text behind a clip its positions (`prune.runtime.positions`)."""

Part = Literal["config", "generation_config", "processor", "template", "tokenizer"]


class ModelId(ClosedModel):
    """What a plan or trace was made for.

    Attributes:
        sha256: hash of the weights; without it a plan fits any model of this geometry.
        parts: hashes of what else decides the model's answers (`prune.checkpoint.identity`).
        positions: whose rule held, where it is not transformers' and the two differ.
    """

    name: str
    model_type: str | None = None
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    num_kv_heads: Annotated[int, Field(ge=1, le=1024)]
    sha256: str | None = None
    parts: dict[Part, str] | None = None
    positions: Literal["vllm"] | None = None


def geometry(
    model: Any,
    name: str = "this model",
    sha256: str | None = None,
    parts: dict[Part, str] | None = None,
) -> ModelId:
    """Layers and KV heads of a loaded model, or of whatever else has a model's `config`."""
    text = model.config.text_config
    return ModelId(
        name=name,
        model_type=model.config.model_type,
        num_layers=text.num_hidden_layers,
        num_kv_heads=text.num_key_value_heads or text.num_attention_heads,
        sha256=sha256,
        parts=parts,
    )
