"""The plan in a model folder, and what the folder's `config.json` says about it."""

from pathlib import Path
from typing import Any

from prune.errors import BadInputError, RefusedError
from prune.io.untrusted import read_json
from prune.plan.model_id import ModelId, Positions
from prune.plan.plan import PLAN_FILE, Plan
from prune.runtime.attention import ATTENTION_NAME

KEY = "attention_pruning"
"""The entry of `config.json` that names the plan."""

ARCHITECTURE = "Pruned"
"""What the architectures of an export begin with. Transformers goes by `model_type`; servers that
know no plans go by these names, find none of theirs, and stop."""


def marks(plan: Plan) -> dict[str, Any]:
    """What the configuration of a model says that runs under `plan`, so that it never runs dense.

    Transformers alone does not know the attention's name, so without prune it stops there.
    """
    return {
        "attn_implementation": {"text_config": ATTENTION_NAME},
        KEY: {"plan": PLAN_FILE, "sha256": plan.sha256},
    }


def plain_architectures(config: dict[str, Any]) -> list[str]:
    """The architectures of a model's configuration, by their names without a plan."""
    return [str(name).removeprefix(ARCHITECTURE) for name in config.get("architectures") or ()]


def marked(config: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """The `config.json` of an export, from its source's."""
    names = [f"{ARCHITECTURE}{name}" for name in plain_architectures(config)]
    return config | {"architectures": names} | marks(plan)


def read_marks(folder: Path) -> Any:
    """What `config.json` says of a plan; None if it names none.

    Raises:
        BadInputError: it names a plan that is not there.
        RefusedError: it names another attention beside the plan. Whoever edits the file so would
            else get the dense model, and not know it.
    """
    config = read_json(folder / "config.json", "a model configuration")
    if KEY not in config:
        return None
    if not (folder / PLAN_FILE).is_file():
        raise BadInputError(
            f"{folder}: config.json names a plan, but there is no {PLAN_FILE}: get the folder "
            "again from its source, or export the model again"
        )
    whole, text = (_attention(part) for part in (config, config.get("text_config") or {}))
    if whole != ATTENTION_NAME or text not in (None, ATTENTION_NAME):
        other = text if whole == ATTENTION_NAME else whole
        raise RefusedError(
            f"{folder}/config.json: names a plan, and {other or 'no'} attention beside it: put "
            f'back "attn_implementation": {{"text_config": "{ATTENTION_NAME}"}}, or remove '
            f'"{KEY}" as well for the dense model'
        )
    return config[KEY]


def _attention(config: Any) -> Any:
    """The attention that a configuration states for its text model; None if it states none."""
    named = config.get("attn_implementation", config.get("_attn_implementation"))
    return named.get("text_config", named.get("")) if isinstance(named, dict) else named


def stored_plan(folder: Path, model: ModelId) -> Plan | None:
    """The plan in a model folder; None if there is none and `config.json` names none.

    Raises:
        BadInputError: its file is damaged, or missing though `config.json` names it.
        RefusedError: it is not the one that `config.json` names, or is for other weights; or that
            file names another attention beside it.
    """
    named = read_marks(folder)
    if not (folder / PLAN_FILE).is_file():
        return None
    plan = Plan.load(folder / PLAN_FILE)
    if named not in (None, marks(plan)[KEY]):
        raise RefusedError(
            f"{folder}: {PLAN_FILE} is not the plan that config.json names: get the folder again "
            "from its source, or export the model again"
        )
    plan.check_model(model)
    return plan


def stored_positions(folder: Path) -> Positions | None:
    """Whose positions the plan in a model folder was measured at; None if it has no plan."""
    there = (folder / PLAN_FILE).is_file()
    return (Plan.load(folder / PLAN_FILE).model.positions or "transformers") if there else None
