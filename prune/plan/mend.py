"""The search for a plan that hallucinates less: cuts of what makes a model see what is not there.

What is lowered is the mean probability of "yes" to questions about absent things. The share of
wrong answers would be too coarse: a model that is good has few of them among its calibration
samples. "No" to what is there must not become likelier in its place, and the budget limits what all
samples lose.
"""

from dataclasses import dataclass, replace

import numpy as np

from prune.plan.budget import Score
from prune.plan.draft import Draft
from prune.plan.eliminate import ALONE
from prune.plan.foreseen import PATIENCE
from prune.plan.moves import Candidate, without

GAIN = 1 / 50
"""Share of the dense model's wrong "yes" by which a cut has to lower it. Less may be chance."""

BY_HEAD = 8
"""Pathways of a layer that are also cut in one KV head at a time: those whose cut matters most."""


@dataclass(frozen=True)
class _Alone:
    """What one cut does to the dense model."""

    candidate: Candidate
    gain: float


def mend(draft: Draft, ranked: list[Candidate], heads: int) -> None:
    """Cut what makes the model say that absent things are there.

    Every candidate is measured alone on the questions about what exists, and the best ones again in
    each KV head. Then they are cut one after another, the best first, as long as each lowers the
    wrong "yes" further.

    Args:
        draft: its `problem.part` is that of the questions about what exists.
        ranked: candidates, in whole layers.
        heads: Hkv.
    """
    draft.reach = np.repeat(draft.reach, heads, 1)
    part = draft.problem.part or draft.problem
    stop = (1 - ALONE) * draft.runs_left
    whole = _alone(draft, ranked, part.dense, stop)
    most = sorted(whole, key=lambda one: -abs(one.gain))[:BY_HEAD]
    single = [replace(one.candidate, head=head) for one in most for head in range(heads)]
    tried = whole + _alone(draft, single, part.dense, stop)
    order = sorted((one for one in tried if one.gain > 0), key=lambda one: -one.gain)
    rejected = 0
    for one in order:
        if rejected == PATIENCE or draft.runs_left <= 0:
            break
        rejected = 0 if _cut(draft, one.candidate, part.dense) else rejected + 1


def _alone(draft: Draft, candidates: list[Candidate], dense: Score, stop: float) -> list[_Alone]:
    """Each candidate's gain, while more runs than `stop` are left."""
    found = []
    for candidate in candidates:
        reach = without(draft.reach, [candidate])
        if draft.runs_left > stop and draft.differs(reach):
            score = draft.estimate(f"{candidate.name} alone", reach).step.score
            found.append(_Alone(candidate, gain(score, dense, dense, draft.budget.allowance)))
    return found


def _cut(draft: Draft, candidate: Candidate, dense: Score) -> bool:
    """Cut a candidate if that lowers the wrong "yes" and all samples lose no more than allowed."""
    reach = without(draft.reach, [candidate])
    if not draft.differs(reach):
        return False
    found = draft.estimate(f"{candidate.name} as well", reach)
    lower = gain(found.step.score, found.before, dense, draft.budget.allowance)
    return lower > GAIN * dense.false_yes and draft.holds(
        reach, candidate.name, draft.budget.allowance
    )


def gain(score: Score, before: Score, dense: Score, allowed: float) -> float:
    """Points by which the wrong "yes" falls from `before`; none where the wrong "no" rises too far.

    Args:
        score, before: of two plans, on the questions about what exists.
        dense: of the dense model, on the same.
        allowed: points by which the wrong "no" may rise above the dense model's.
    """
    if score.false_no > dense.false_no + allowed:
        return -np.inf
    return before.false_yes - score.false_yes
