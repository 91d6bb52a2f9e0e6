"""Recipes: YAML files of a closed schema that say how a model is traced and planned."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from prune.errors import BadInputError, RefusedError, UsageError
from prune.inputs.media import Media
from prune.inputs.prompts import ANSWER_CUE, INSTRUCTION, Wording
from prune.inputs.samples import Sample
from prune.inputs.templates import check_template
from prune.io.closed import ClosedModel, first_problem
from prune.plan.model_id import ModelId
from prune.plan.presets import PRESETS

MAX_BYTES = 2**16


class RecipePlan(ClosedModel):
    """A preset of the paper, or a search within a budget; exactly one of them."""

    preset: str | None = None
    variants: list[Literal["published", "sealed"]] = Field(default_factory=list)
    max_drop: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "RecipePlan":
        if (self.preset is None) == (self.max_drop is None):
            raise ValueError("give exactly one of preset and max_drop")
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"no preset {self.preset!r}: there are {', '.join(PRESETS)}")
        return self


class Recipe(ClosedModel):
    """The content of one file.

    Attributes:
        reproduces: which experiment of which paper.
        model: hub id or `tiny`; without one, the command names a folder.
        tokens_per_frame: after pooling; None where it follows from the clip's size.
        benchmark: a name of `prune.datasets`, or `tiny`.
        set: pathways that are knocked out (`prune.trace.sets`).
        window: number of layers knocked out together.
        sampling: the policy by which frames are taken (`prune.inputs.media.Media`).
        system: the system prompt, in front of the video; the chat template's own one if empty.
        instruction: what follows the options.
        prompt: a template in place of both (`prune.inputs.templates`), if not empty.
        cue: what prompts end with; empty where the reply is the letter itself.
        note: remarks for the user.
    """

    reproduces: str
    model: str | None = None
    model_type: str
    num_layers: Annotated[int, Field(ge=1)]
    num_frames: Annotated[int, Field(ge=1)]
    tokens_per_frame: Annotated[int, Field(ge=1)] | None
    benchmark: str
    tasks: Annotated[list[str], Field(min_length=1)]
    samples: Literal["correct", "wrong", "all"]
    set: str
    window: Annotated[int, Field(ge=1)]
    plan: RecipePlan
    sampling: Literal["uniform", "map-the-flow"] = "uniform"
    system: str = ""
    instruction: Annotated[str, Field(min_length=1)] = INSTRUCTION
    prompt: str = ""
    cue: str = ANSWER_CUE
    note: str = ""

    @property
    def media(self) -> Media:
        """How its clips are read."""
        return Media(sampling=self.sampling) if self.sampling != "uniform" else Media()

    @property
    def wording(self) -> Wording:
        """What its prompts say around a question."""
        return Wording(self.system, self.instruction, self.prompt)

    @field_validator("prompt")
    @classmethod
    def _is_template(cls, prompt: str) -> str:
        if prompt:
            check_template(prompt)
        return prompt

    def of_its_tasks(self, samples: Sequence[Sample], data: Path) -> list[Sample]:
        """The samples of its tasks; raises `BadInputError` if `data` has none of one of them."""
        missing = set(self.tasks) - {sample.task for sample in samples}
        if missing:
            raise BadInputError(f"{data}: has no question of task {min(missing)!r}")
        return [sample for sample in samples if sample.task in self.tasks]

    def check_model(self, model: ModelId) -> None:
        """Raise `RefusedError` for a model of another type or depth."""
        if (model.model_type, model.num_layers) != (self.model_type, self.num_layers):
            raise RefusedError(
                f"{model.name}: a {model.model_type} of {model.num_layers} layers, but the recipe "
                f"is for a {self.model_type} of {self.num_layers}"
            )


def recipe_names() -> list[str]:
    """The recipes that ship with prune."""
    found = (Path(str(item)) for item in files("prune.recipes").iterdir())
    return sorted(path.stem for path in found if path.suffix == ".yaml")


def read_recipe(name: str) -> Recipe:
    """Read a recipe by its name, or from a YAML file.

    Raises:
        UsageError: there is neither.
        BadInputError: the file is not a recipe; the field is named.
    """
    path = Path(name)
    if name in recipe_names():
        path = Path(str(files("prune.recipes") / f"{name}.yaml"))
    elif path.suffix != ".yaml" or not path.is_file():
        raise UsageError(f"no recipe {name!r}: there are {', '.join(recipe_names())}, or a .yaml")
    if path.stat().st_size > MAX_BYTES:
        raise BadInputError(f"{path}: larger than {MAX_BYTES} bytes, not a recipe")
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise BadInputError(f"{path}: {first_problem(error)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: not a recipe: {str(error).splitlines()[0]}") from None
