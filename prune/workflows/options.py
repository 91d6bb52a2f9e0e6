"""Choices that workflows offer, as enumerations that load without torch."""

from enum import StrEnum

from prune.trace.patch_choices import Corruption, Site
from prune.trace.windows import Style

__all__ = [
    "Corruption", "FlowMetric", "Method", "Order", "Partition", "PathwaySet", "Preset", "Regions",
    "Removal", "Sampling", "Site", "Style", "Which",
]  # fmt: skip


class Which(StrEnum):
    """Samples by whether the dense model answers them correctly."""

    CORRECT = "correct"
    WRONG = "wrong"
    ALL = "all"


class Method(StrEnum):
    """What ranks the candidates of a search.

    The knockouts of a trace, then runs of each alone; learned gates, then the same; or gradients
    around the plan so far, which cost as much however many candidates there are.
    """

    TRACE = "trace"
    GATES = "gates"
    SCREEN = "screen"


class Partition(StrEnum):
    """How each clip is cut into regions (`prune.evidence.regions.PARTITIONS`)."""

    FRAMES = "frames"
    GRID = "grid"
    SUPERPIXELS = "superpixels"
    SLICO = "slico"
    TUBES = "tubes"


class Regions(StrEnum):
    """The same, or frames first, then cells of those that matter (`prune.evidence.explain`)."""

    FRAMES = "frames"
    GRID = "grid"
    SUPERPIXELS = "superpixels"
    SLICO = "slico"
    TUBES = "tubes"
    COARSE = "coarse"


class Removal(StrEnum):
    """How regions are removed (`prune.evidence.case.REMOVALS`)."""

    MASKED = "masked"
    BLACK = "black"
    MEAN = "mean"
    BLUR = "blur"


class Order(StrEnum):
    """How regions are ordered (`prune.evidence.search.SEARCHES`)."""

    FULL = "full"
    DOUBLING = "doubling"
    EFFICIENT = "efficient"
    LAZY = "lazy"


class FlowMetric(StrEnum):
    """What a flow map shows (`prune.trace.metrics.METRICS`), or the interaction of pairs."""

    CHANGE_ANSWER = "change_answer"
    DLOGP_ANSWER = "dlogp_answer"
    KL = "kl"
    CHANGE_TRUE = "change_true"
    DLOGP_TRUE = "dlogp_true"
    ACCURACY = "accuracy"
    FREE_ACCURACY = "free_accuracy"
    AGREEMENT = "agreement"
    PREFIX = "prefix"
    INTERACTION = "interaction"


class Sampling(StrEnum):
    """Which frames of a clip are taken (`prune.inputs.decoding.sampling.POLICIES`)."""

    UNIFORM = "uniform"
    MAP_THE_FLOW = "map-the-flow"
    FPS = "fps"


class PathwaySet(StrEnum):
    """Named sets of pathways (`prune.trace.sets.SETS`)."""

    ALL = "all"
    CROSS_FRAME = "cross-frame"
    INTRA_FRAME = "intra-frame"
    PAPER = "paper"
    SEALED = "sealed"
    PUBLISHED = "published"
    CLOSED = "closed"
    OPTIONS = "options"
    TRUE_OPTION = "true-option"
    FALSE_OPTIONS = "false-options"
    REPLY = "reply"
    OPEN_ENDED = "open-ended"


class Preset(StrEnum):
    """Published maps (`prune.plan.presets.PRESETS`)."""

    LLAVA_NEXT_7B = "llava-next-7b"
    LLAVA_NEXT_13B = "llava-next-13b"
    MINI_INTERNVL_4B = "mini-internvl-4b"
    VIDEOLLAMA3_7B = "videollama3-7b"
