"""A seeded draw of samples that is spread over tasks and videos."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from prune.inputs.samples import Sample


def draw_samples(
    samples: Sequence[Sample], limit: int | None = None, per_task: int | None = None, seed: int = 0
) -> list[Sample]:
    """Draw samples: the tasks take turns, and each picks a video that it asked
    about least, and of those one that the others did.

    A larger `limit` draws the same samples and more, so a run can be extended.

    Args:
        samples: to draw from.
        limit: how many at most; all if None.
        per_task: how many of each task at most; all if None.
        seed: of the draw.

    Returns:
        The drawn ones, in their order.
    """
    waiting: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        waiting.setdefault(sample.task, []).append(index)
    random = Random(seed)
    for numbers in waiting.values():
        random.shuffle(numbers)
    left = {task: min(len(n), per_task or len(n)) for task, n in waiting.items()}
    total = min(sum(left.values()), limit or len(samples))
    asked: Counter[tuple[Path, ...]] = Counter()
    asked_in: dict[str, Counter[tuple[Path, ...]]] = {task: Counter() for task in waiting}
    drawn: list[int] = []
    while len(drawn) < total:
        for task in [task for task, count in left.items() if count][: total - len(drawn)]:
            here = asked_in[task]
            index = min(
                waiting[task], key=lambda i: (here[samples[i].files], asked[samples[i].files])
            )
            waiting[task].remove(index)
            left[task] -= 1
            here[samples[index].files] += 1
            asked[samples[index].files] += 1
            drawn.append(index)
    return [samples[index] for index in sorted(drawn)]
