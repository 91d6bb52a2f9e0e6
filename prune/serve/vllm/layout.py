"""The layout of a served request: roles and frames from where vLLM says that its media are.

Scheduler, cache managers and attention each derive it from the same prompt, so nothing has to be
sent between their processes. Token ids never decide what is video: a model may generate any.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoConfig
from vllm.config import VllmConfig
from vllm.logger import init_logger

from prune.checkpoint.load import open_processor, resolve
from prune.errors import BadInputError, PruneError
from prune.families import Family, family_of_model_type
from prune.families.family import Medium
from prune.layout.reach import ALL
from prune.layout.segments import NUM_ROLES, Role, segment_row
from prune.plan.plan import PLAN_FILE, Plan
from prune.serve.vllm.rules import Needs, Roles, Rules
from prune.serve.vllm.storage import Storage

logger = init_logger(f"vllm.{__name__}")

_FRAMES = "prune_frames"
"""What is left of a video's data where vLLM sends no more: its number of frames."""


@dataclass(frozen=True, eq=False)
class RequestLayout:
    """What the tokens of one request are. Those behind its prompt are answers.

    Attributes:
        role: int8 `[S]`.
        frame: int32 `[S]`.
        rules: of the plan.
        needs: what the prompt needs of every layer; None if it runs dense.
        unknown: whether it has a video and runs dense, since its roles are not known.
    """

    role: NDArray[np.int8]
    frame: NDArray[np.int32]
    rules: Rules
    needs: Needs | None
    unknown: bool = False
    _storages: dict[tuple[int, ...], Storage] = field(default_factory=dict, init=False)

    def roles(self, positions: NDArray[np.int64]) -> NDArray[np.int8]:
        """Roles of tokens, int8 `[n]`."""
        inside = self.role[np.minimum(positions, len(self.role) - 1)]
        return np.where(positions < len(self.role), inside, np.int8(Role.ANSWER))

    def frames(self, positions: NDArray[np.int64]) -> NDArray[np.int32]:
        """Frames of tokens, int32 `[n]`, -1 for none."""
        inside = self.frame[np.minimum(positions, len(self.frame) - 1)]
        return np.where(positions < len(self.frame), inside, np.int32(-1))

    def states(self, start: int, stop: int) -> tuple[int, int]:
        """Of tokens, over all layers: states that are computed, and those with keys alone."""
        if self.needs is None:
            return (stop - start) * len(self.rules.reach), 0
        roles = self.roles(np.arange(start, stop))
        computed = int(self.needs.computed[:, roles].sum())
        return computed, int(self.needs.alive[:, roles].sum()) - computed

    def storage(self, layers: tuple[int, ...], block_size: int) -> Storage:
        """Where a group of layers stores the tokens."""
        if layers not in self._storages:
            stored: Roles = np.ones(NUM_ROLES, bool)
            kept = stored
            if self.needs is not None:
                stored = np.asarray(self.needs.alive[list(layers)].any(0))
                kept = np.asarray(self.rules.kept[list(layers)].any(0))
            self._storages[layers] = Storage(stored[self.role], kept[self.role], block_size)
        return self._storages[layers]


class ServedPlan:
    """The plan of a served model, with what the roles of its requests follow from."""

    def __init__(self, folder: Path):
        config = AutoConfig.from_pretrained(folder)
        self._family = family_of_model_type(config.model_type)
        self.plan = Plan.load(folder / PLAN_FILE)
        self.rules = Rules(self.plan.reach, self._family.full_layers(config))
        self._processor = open_processor(folder)

    def layout(
        self, ids: Sequence[int] | None, features: Sequence[Any], size: int
    ) -> RequestLayout:
        """The layout of a request.

        A prompt without a video, or whose roles cannot be known, is dense.

        Args:
            ids: its prompt's tokens; None if it was given as embeddings.
            features: its media (`vllm.multimodal.inputs.MultiModalFeatureSpec`).
            size: number of tokens of its prompt.
        """
        if ids is None or not any(feature.modality == "video" for feature in features):
            return self.dense(size)
        try:
            media, counts = _media(self._family, features)
            found = segment_row(self._processor, ids, media, counts)
        except PruneError as error:
            logger.warning("prune: a request runs dense: %s", error)
            return self.dense(size, unknown=True)
        if bool(found.unknown.any()):
            logger.warning("prune: a request runs dense: it is in no chat format that prune knows")
            return self.dense(size, unknown=True)
        role, frame = found.role[0].numpy(), found.frame[0].numpy()
        return RequestLayout(role, frame, self.rules, self.rules.needs(found))

    def dense(self, size: int, unknown: bool = False) -> RequestLayout:
        """The layout of a prompt of `size` tokens that runs dense; `unknown`: see there."""
        answers = np.full(size, int(Role.ANSWER), np.int8)
        return RequestLayout(answers, np.full(size, -1, np.int32), self.rules, None, unknown)

    @property
    def pruned_layers(self) -> int:
        """Number of layers in which the plan removes edges."""
        return int((self.plan.reach != ALL).any((1, 2, 3)).sum())


def served_plan(config: VllmConfig) -> ServedPlan:
    """The plan of the model that a vLLM process serves."""
    return _served(str(config.model_config.model), config.model_config.revision)


@cache
def _served(name: str, revision: str | None) -> ServedPlan:
    return ServedPlan(model_folder(name, revision))


def model_folder(name: str, revision: str | None) -> Path:
    """The folder of a model that vLLM was given."""
    return resolve(name, **({} if revision is None else {"revision": revision}))


def _media(family: Family, features: Sequence[Any]) -> tuple[list[Medium], list[int]]:
    """Runs of media tokens, and the number of frames of every video."""
    media, counts = [], []
    for feature in sorted(features, key=lambda f: int(f.mm_position.offset)):
        video = feature.modality == "video"
        runs = [(first, last + 1) for first, last in feature.mm_position.extract_embeds_range()]
        if not family.frame_runs:
            runs = [(runs[0][0], runs[-1][1])]
        media += [Medium(int(start), int(stop), video) for start, stop in runs]
        if video:
            counts.append(len(runs) if family.frame_runs else _frames(feature.data))
    return media, counts


def with_frames(features: Sequence[Any], whole: Sequence[Any]) -> list[Any]:
    """A request's media as a worker needs them for the same layout.

    Args:
        features: as vLLM sends them to it: without the data of media that it need not encode, such
            as those in the prefix cache.
        whole: the same with all data.
    """
    return [_sent(feature, known) for feature, known in zip(features, whole, strict=True)]


def _sent(feature: Any, known: Any) -> Any:
    if feature.modality != "video" or feature.data is not None:
        return feature
    try:
        return replace(feature, data={_FRAMES: _frames(known.data)})
    except BadInputError:
        # Then the request runs dense, here and there.
        return feature


def _frames(data: Any) -> int:
    """Frames (temporal units) of a video, as `Family.frame_counts` tells them."""
    data = data or {}
    if _FRAMES in data:
        return int(data[_FRAMES])
    if "video_grid_thw" in data:
        return int(data["video_grid_thw"].data[0])
    if "pixel_values_videos" in data:
        return int(data["pixel_values_videos"].data.shape[0])
    raise BadInputError("a video without pixels: its number of frames is not known")
