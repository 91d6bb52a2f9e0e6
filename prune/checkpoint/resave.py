"""A loaded export that is saved again: its plan goes with it, bound to the weights as they are."""

import json
from dataclasses import replace
from functools import update_wrapper
from pathlib import Path
from typing import Any

from prune.checkpoint.identity import parts_of, weights_sha256
from prune.checkpoint.stored_plan import marked
from prune.errors import RefusedError
from prune.io.files import write_atomically
from prune.io.untrusted import read_json
from prune.plan.model_id import geometry
from prune.plan.plan import PLAN_FILE, Plan

ORIGIN = "saved again from"
"""The entry of a plan's origin that names the weights that it was measured with."""


def keep_plan(model: Any, plan: Plan) -> None:
    """Have what `save_pretrained` writes of a model run under its plan again."""
    model.save_pretrained = _SavePretrained(model, plan)


class _SavePretrained:
    """In place of a model's `save_pretrained`. No closure: it is copied with its model."""

    def __init__(self, model: Any, plan: Plan):
        update_wrapper(self, model.save_pretrained)
        self._model, self._plan, self._save = model, plan, model.save_pretrained

    def __call__(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        *args: Any,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """See transformers' `save_pretrained`.

        Raises:
            RefusedError: `push_to_hub` is asked for, which would upload the folder without a plan.
        """
        if push_to_hub:
            raise RefusedError(
                "push_to_hub=True uploads a folder before its plan is in it: call the model's "
                "push_to_hub"
            )
        self._save(save_directory, is_main_process, *args, **kwargs)
        if is_main_process:
            self._write(Path(save_directory))

    def _write(self, folder: Path) -> None:
        weights = weights_sha256(folder)
        identity = geometry(self._model, str(folder), weights, parts_of(folder))
        plan = replace(
            self._plan, model=identity.model_copy(update={"positions": self._plan.model.positions})
        )
        before = self._plan.model.sha256
        if before is not None and before != weights:
            plan = replace(plan, origin={ORIGIN: before, **plan.origin})
        plan.save(folder / PLAN_FILE)
        config = read_json(folder / "config.json", "a model configuration")
        text = json.dumps(marked(config, plan), indent=2, ensure_ascii=False)
        write_atomically(folder / "config.json", text + "\n")
