"""Plans by name: a plan file, a preset, an export or a run folder."""

from pathlib import Path

from prune.errors import BadInputError
from prune.plan.plan import PLAN_FILE, RUN_PLAN_FILE, Plan
from prune.plan.presets import PRESETS


def plan_of(what: str) -> Plan:
    """The plan of a plan file, a preset's name, an export or a run folder."""
    path = Path(what)
    if path.is_dir():
        for name in (PLAN_FILE, RUN_PLAN_FILE):
            if (path / name).is_file():
                return Plan.load(path / name)
        raise BadInputError(f"{path}: holds neither {PLAN_FILE} nor {RUN_PLAN_FILE}")
    if path.is_file():
        return Plan.load(path)
    if what in PRESETS:
        return Plan.preset(what)
    raise BadInputError(f"{what}: no such plan, folder or preset ({', '.join(PRESETS)})")
