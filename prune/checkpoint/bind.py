"""The plan of an export on a model that transformers' own loaders have loaded."""

from pathlib import Path
from typing import Any

from prune.checkpoint.identity import parts_of, weights_sha256
from prune.checkpoint.load import DENSE, open_processor, resolve
from prune.checkpoint.resave import keep_plan
from prune.checkpoint.stored_plan import KEY, marks, read_marks, stored_plan
from prune.errors import BadInputError, RefusedError
from prune.plan.model_id import geometry
from prune.plan.plan import PLAN_FILE
from prune.runtime.apply import attach
from prune.runtime.attention import ATTENTION_NAME

_HUB = ("revision", "cache_dir", "token", "local_files_only")


def bind(model: Any, given: dict[str, Any]) -> None:
    """Make the plan that a model's configuration names active, unless it was asked for dense.

    Args:
        model: as `from_pretrained` returns it.
        given: the keyword arguments of that `from_pretrained`.

    Raises:
        BadInputError: plan or processor are missing or damaged.
        RefusedError: it is another plan than the configuration names, or for other weights, or
            only a part of the model was loaded.
    """
    name = model.config.name_or_path
    if asked_attention(given) not in (None, ATTENTION_NAME):
        if name:
            # An edited file looks like a request.
            read_marks(_folder(name, given))
        # What is saved of a dense model is dense, and says so.
        vars(model.config).pop(KEY, None)
        return
    if not hasattr(model.config, KEY) or not model.can_generate():
        raise RefusedError(
            f"{name}: only the whole model runs under its plan: load it with "
            "AutoModelForImageTextToText, or pass attn_implementation='sdpa' for dense parts"
        )
    if given.get("state_dict") is not None:
        raise RefusedError(f"{name}: state_dict: its plan is for the weights in its folder")
    folder = _folder(name, given)
    plan = stored_plan(folder, geometry(model, str(name), weights_sha256(folder), parts_of(folder)))
    if plan is None:
        raise BadInputError(f"{folder}: config.json names no plan, nor is there a {PLAN_FILE}")
    processor = open_processor(folder)
    model.set_attn_implementation(DENSE)
    attach(model, plan, processor)
    vars(model.config).update(marks(plan))
    keep_plan(model, plan)


def _folder(name: str, given: dict[str, Any]) -> Path:
    """The folder that a model was loaded from."""
    hub = {key: given[key] for key in _HUB if given.get(key) is not None}
    return resolve(name, **hub) / (given.get("subfolder") or "")


def asked_attention(given: dict[str, Any]) -> str | None:
    """The text model's attention by explicit request; None if `config.json` decides."""
    asked = given.get("attn_implementation")
    if isinstance(asked, dict):
        asked = asked.get("text_config")
    if asked is None:
        # The auto classes and pipelines hand over a configuration that has the argument in it.
        config = given.get("config")
        asked = getattr(getattr(config, "text_config", config), "_attn_implementation", None)
    return asked
