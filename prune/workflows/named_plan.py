"""Plans by name: of a plan file, a preset, an export or a run folder."""

from pathlib import Path

from prune.errors import BadInputError
from prune.plan.plan import PLAN_FILE, RUN_PLAN_FILE, Plan
from prune.plan.presets import PRESETS


def named_plan(name: str | Path) -> Plan:
    """Find a plan by the name that a user gives it.

    Args:
        name: a plan file, an exported folder, a run folder or a preset's name.

    Raises:
        BadInputError: there is no such plan, or its file is damaged.
    """
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
