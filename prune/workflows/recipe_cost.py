"""The workflow of `prune recipe`: the cost of recipes, counted and not measured."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from prune.checkpoint.load import EMBEDDED, resolve
from prune.errors import BadInputError, RefusedError
from prune.inputs.samples import load_samples
from prune.io.untrusted import check_folder
from prune.layout.pathways import VIDEO, Pathway
from prune.plan.cost import Geometry
from prune.plan.model_id import geometry
from prune.trace.incremental import MAX_KEYS
from prune.trace.sets import SETS
from prune.trace.windows import Style, style_windows
from prune.workflows.recipe import Recipe, read_recipe, recipe_names


@dataclass(frozen=True)
class Passes:
    """Forward passes of the language model to trace one sample.

    Attributes:
        knockouts: number of knockouts, one per pathway and layer.
        plain: over the whole prompt, if every knockout were one (`--exact-reference`), with the
            dense one.
        whole: over the whole prompt, as prune does it: the dense one, and knockouts that change
            video rows, from the first layer that they cut.
        text: over the text after the video, with what is known of the rest.
    """

    knockouts: int
    plain: int
    whole: float
    text: float


def passes(recipe: Recipe) -> Passes:
    """Count the forward passes that a recipe's trace runs for one sample.

    A knockout starts at the first layer of its window, so it is a part of a pass
    (`prune.trace.incremental`).
    """
    windows = style_windows(Style.CENTRE, recipe.window, recipe.num_layers)
    return count_passes(SETS[recipe.set], windows, recipe.num_layers)


def count_passes(
    pathways: Sequence[Pathway], windows: Sequence[Sequence[int]], num_layers: int
) -> Passes:
    """Count the forward passes of a trace of one sample.

    Args:
        pathways: what is removed.
        windows: the layers of each knockout.
        num_layers: L.
    """
    parts = sum(1 - window[0] / num_layers for window in windows)
    into_video = sum(_changes_video(pathway) for pathway in pathways)
    knockouts = len(pathways) * len(windows)
    return Passes(
        knockouts, 1 + knockouts, 1 + into_video * parts, (len(pathways) - into_video) * parts
    )


def _changes_video(pathway: Pathway) -> bool:
    return any(set(single.queries) & set(VIDEO) for single in pathway.singles)


@dataclass(frozen=True)
class Memory:
    """Bytes on the device while a sample is traced; activations of a layer come on top.

    Attributes:
        weights: as they are stored.
        recorded: hidden states, keys and values of the video's tokens in all layers; None where
            their number follows from the clip.
        batch: keys and values of one batch of knockouts in a layer, at most.
    """

    weights: int
    recorded: int | None
    batch: int

    @property
    def total(self) -> int:
        """Sum of the parts that are known."""
        return self.weights + (self.recorded or 0) + self.batch


def memory(recipe: Recipe, name: str | Path) -> Memory:
    """Count the memory that tracing a model by a recipe takes; its weights are not read.

    Raises:
        BadInputError: there is no such folder, or it is damaged.
        RefusedError: it asks for code of its own, or is not the recipe's.
    """
    if str(name) not in EMBEDDED and not Path(name).is_dir():
        raise BadInputError(f"{name}: no such folder: to count must not download a model")
    folder = resolve(name)
    check_folder(folder)
    config = AutoConfig.from_pretrained(folder, attn_implementation="sdpa")
    if config.model_type != recipe.model_type:
        raise RefusedError(
            f"{name}: a {config.model_type}, but the recipe is for a {recipe.model_type}"
        )
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    recipe.check_model(geometry(model, str(name)))
    size = Geometry.of(model)
    recorded = None
    if recipe.tokens_per_frame is not None:
        tokens = recipe.num_frames * recipe.tokens_per_frame
        state = size.hidden * size.bytes_per_value + size.kv_bytes
        recorded = tokens * recipe.num_layers * state
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Memory(weights, recorded, MAX_KEYS * size.kv_bytes)


@dataclass(frozen=True)
class RecipeCost:
    """A recipe and what it costs.

    Attributes:
        name: the recipe's.
        recipe: its settings.
        passes: to trace one sample.
        samples: number of samples by task, if a data set was given.
        memory: on the device, if a model was given.
    """

    name: str
    recipe: Recipe
    passes: Passes
    samples: dict[str, int] | None = None
    memory: Memory | None = None


def recipe_costs(
    name: str | None = None, model: str | Path | None = None, data: Path | None = None
) -> list[RecipeCost]:
    """Count the cost of one recipe, or of all that ship with prune, without running them.

    Args:
        name: name or file of a recipe; all of them if None.
        model: folder of the recipe's model, to count its memory.
        data: JSONL of the recipe's samples, to count them.

    Raises:
        UsageError: there is no such recipe.
        BadInputError: a file cannot be read.
        RefusedError: the model is not the recipe's.
    """
    found = []
    for each in [name] if name else recipe_names():
        recipe = read_recipe(each)
        samples = None
        if data is not None:
            tasks = Counter(sample.task for sample in load_samples(data))
            samples = {task: tasks[task] for task in recipe.tasks}
        held = None if model is None else memory(recipe, model)
        label = Path(each).name.removesuffix(".yaml")
        found.append(RecipeCost(label, recipe, passes(recipe), samples, held))
    return found
