"""Elimination: removal of whole structures, then of single candidates, while worth its loss."""

from dataclasses import replace

import numpy as np

from prune.errors import BadInputError
from prune.layout.freezing import updated
from prune.plan.draft import Draft
from prune.plan.foreseen import PATIENCE, remove_foreseen
from prune.plan.moves import Candidate, Slide, closed, slides, without

ALONE = 2 / 3
"""Share of the remaining runs that cut candidates one at a time, to measure the loss of each given
the structures already removed. A trace measures it only on the dense model."""

SMALL = 0.001
"""Share of the dense cost below which candidates come last, whatever their harm."""


def descend(draft: Draft, ranked: list[Candidate], allowed: float) -> None:
    """Remove structures, then candidates, while the loss stays within `allowed`."""
    num_frames = draft.histogram.pairs.shape[-1]
    problem = draft.problem
    for slide in slides(problem.model.num_layers, num_frames, problem.freezing):
        if not draft.done:
            take_structure(draft, slide, allowed)
    if not draft.done:
        if draft.budget.limits_harm:
            draft.reach = closed(draft.reach)
        remove_candidates(draft, ranked, allowed)


def split(draft: Draft, ranked: list[Candidate], heads: int, allowed: float) -> None:
    """Remove pathways in single KV heads where a whole layer has to keep them."""
    draft.reach = np.repeat(draft.reach, heads, 1)
    single = [
        replace(candidate, harm=candidate.harm / heads, head=head)
        for candidate in ranked
        for head in range(heads)
    ]
    remove_candidates(draft, single, allowed)


def remove_candidates(
    draft: Draft, ranked: list[Candidate], allowed: float, alone: bool = True
) -> None:
    """Remove candidates while that is worth its loss, by forecasts where there are some.

    Args:
        draft: the plan so far.
        ranked: candidates.
        allowed: the loss that is allowed.
        alone: where there are no forecasts, run candidates alone first.
    """
    if draft.problem.foresee is not None:
        remove_foreseen(draft, ranked, allowed)
        return
    order = by_harm_per_cost(draft, ranked)
    remove(draft, by_loss_per_cost(draft, order, allowed) if alone else order, allowed)


def take_structure(draft: Draft, slide: Slide, allowed: float) -> None:
    """Apply a structure at the farthest setting that is worth its loss.

    The farthest settings are tried first: they lose so much that a few samples suffice to reject
    them. Bisection would miss settings that lose less than a nearer one, which happens.
    """
    start, worth = draft.reach, draft.worth(allowed)
    failed: bytes | None = None
    for setting in range(slide.settings, 0, -1):
        reach = slide.at(start, setting)
        # Settings that differ only in edges and states which no answer needs are the same plan.
        open_ = closed(reach)
        needed = draft.histogram.kept_by_roles(open_).tobytes() + updated(open_).tobytes()
        if needed == failed or draft.reached(slide.at(start, setting - 1)):
            continue
        if draft.holds(reach, slide.title(setting), worth(reach)):
            break
        failed = needed


def by_harm_per_cost(draft: Draft, ranked: list[Candidate]) -> list[Candidate]:
    """Least harm per saving first; small savings last; candidates without any are left out."""
    now = draft.price(draft.reach)
    order = []
    for index, candidate in enumerate(ranked):
        reach = without(draft.reach, [candidate])
        if draft.differs(reach):
            saved = now - draft.price(reach)
            key = saved < SMALL, candidate.harm / max(saved, 1e-9), -saved, index
            order.append((key, candidate))
    return [candidate for _, candidate in sorted(order, key=lambda item: item[0])]


def by_loss_per_cost(draft: Draft, ranked: list[Candidate], allowed: float) -> list[Candidate]:
    """Least loss per saving first; candidates that alone lose more than `allowed` are left out.

    The losses are estimates on a part of the samples; what is removed is checked on all. Candidates
    without a run left for them come after the others, in the order given.
    """
    now, before = draft.price(draft.reach), draft.lost
    stop = draft.reserve + (1 - ALONE) * (draft.runs_left - draft.reserve)
    order, rest = [], ranked
    while rest and draft.runs_left > stop:
        (candidate, *rest) = rest
        reach = without(draft.reach, [candidate])
        lost = draft.estimate(f"{candidate.name} alone", reach, allowed).lost
        if lost <= allowed:
            saved = max(now - draft.price(reach), 1e-9)
            order.append((max(0.0, lost - before) / saved, -saved, candidate))
    order.sort(key=lambda item: item[:2])
    return [candidate for *_, candidate in order] + rest


def remove(draft: Draft, rest: list[Candidate], allowed: float) -> None:
    """Remove candidates in blocks, half of them at first.

    After a block that is accepted the next one is twice as large; in one that is not, bisection
    finds the candidate that was too much, which is never tried again. After `PATIENCE` such
    candidates in a row the rest stay.
    """
    size, suspects, worth = max(1, len(rest) // 2), 0, draft.worth(allowed)
    rejected = 0
    while rest and draft.runs_left > draft.reserve and not draft.done and rejected < PATIENCE:
        if suspects == 1:
            rest, suspects = rest[1:], 0
            continue
        block = draft.enough(rest[: suspects // 2 or size])
        title = block[0].name + (f" and {len(block) - 1} more" if len(block) > 1 else "")
        reach = without(draft.reach, block)
        if draft.holds(reach, title, worth(reach)):
            rest, rejected = rest[len(block) :], 0
            suspects, size = max(0, suspects - len(block)), size if suspects else 2 * size
        else:
            rejected += len(block) == 1
            suspects, size = len(block), size if suspects else max(1, size // 2)


def finish(draft: Draft, ranked: list[Candidate]) -> None:
    """Remove candidates until enough is saved, regardless of the loss."""
    block = draft.enough(by_harm_per_cost(draft, ranked))
    reach = without(draft.reach, block)
    if not draft.reached(reach):
        raise BadInputError(
            f"{draft.budget.kind.replace('_', ' ')} {draft.budget.value:g} cannot be reached "
            "with the pathways that were traced"
        )
    draft.runs_left = max(1, draft.runs_left)
    draft.holds(reach, f"{len(block)} more, regardless of the loss", float("inf"))
