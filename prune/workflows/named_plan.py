"""Plans by name: of a plan file, a preset, an export or a run folder."""

from pathlib import Path
from types import SimpleNamespace

from transformers import AutoConfig

from prune.checkpoint.load import EMBEDDED, resolve
from prune.errors import BadInputError
from prune.io.untrusted import check_configs
from prune.plan.keep import keep_plan
from prune.plan.model_id import ModelId, geometry
from prune.plan.plan import PLAN_FILE, RUN_PLAN_FILE, Plan
from prune.plan.presets import PRESETS


def named_plan(name: str | Path, keep: str | None = None) -> Plan:
    """Find a plan by the name that a user gives it.

    Args:
        name: a plan file, an exported folder, a run folder or a preset's name.
        keep: the plan of this text instead (`prune.plan.keep`), for the model of that plan, or the
            model of that name, whose weights are not read.

    Raises:
        BadInputError: there is no such plan or model, or its file is damaged.
        UsageError: `keep` is not understood.
    """
    if keep is not None:
        return keep_plan(keep, _model(name))
    path = Path(name)
    if path.is_dir():
        for file in (path / PLAN_FILE, path / RUN_PLAN_FILE):
            if file.is_file():
                return Plan.load(file)
        raise BadInputError(f"{path}: holds neither {PLAN_FILE} nor {RUN_PLAN_FILE}")
    if path.is_file():
        return Plan.load(path)
    if str(name) in PRESETS:
        return Plan.preset(str(name))
    raise BadInputError(f"{name}: no such plan, folder or preset ({', '.join(PRESETS)})")


def _model(name: str | Path) -> ModelId:
    """The model of a plan, or of a folder, by its config."""
    path = Path(name)
    plans = path.is_file() or str(name) in PRESETS
    if plans or any((path / file).is_file() for file in (PLAN_FILE, RUN_PLAN_FILE)):
        return named_plan(name).model
    if str(name) not in EMBEDDED and not path.is_dir():
        raise BadInputError(f"{name}: no such plan, folder or preset ({', '.join(PRESETS)})")
    folder = resolve(name)
    check_configs(folder)
    return geometry(SimpleNamespace(config=AutoConfig.from_pretrained(folder)), str(name))
