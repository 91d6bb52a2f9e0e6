"""The plan in a model folder, and what the folder's `config.json` says about it."""

from pathlib import Path
from typing import Any

from prune.errors import BadInputError, RefusedError
from prune.io.untrusted import read_json
from prune.plan.model_id import ModelId
from prune.plan.plan import PLAN_FILE, Plan
from prune.runtime.attention import ATTENTION_NAME

KEY = "attention_pruning"
"""The entry of `config.json` that names the plan."""


def marks(plan: Plan) -> dict[str, Any]:
    """What the configuration of a model says that runs under `plan`, so that it never runs dense.

    Transformers alone does not know the attention's name, so without prune it stops there.
    """
    return {
        "attn_implementation": {"text_config": ATTENTION_NAME},
        KEY: {"plan": PLAN_FILE, "sha256": plan.sha256},
    }


def stored_plan(folder: Path, model: ModelId) -> Plan | None:
    """The plan in a model folder; None if there is none and `config.json` names none.

    Raises:
        BadInputError: its file is damaged, or missing though `config.json` names it.
        RefusedError: it is not the one that `config.json` names, or is for other weights.
    """
    config = read_json(folder / "config.json", "a model configuration")
    if not (folder / PLAN_FILE).is_file():
        if KEY in config:
            raise BadInputError(
                f"{folder}: config.json names a plan, but there is no {PLAN_FILE}: get the folder "
                "again from its source, or export the model again"
            )
        return None
    plan = Plan.load(folder / PLAN_FILE)
    if KEY in config and config[KEY] != marks(plan)[KEY]:
        raise RefusedError(
            f"{folder}: {PLAN_FILE} is not the plan that config.json names: get the folder again "
            "from its source, or export the model again"
        )
    plan.check_model(model)
    return plan
