"""Local refinement at the end of a search: restoring pathways that cost too much accuracy."""

from dataclasses import dataclass, replace

from prune.layout.pathways import Pathway
from prune.layout.reach import Reach
from prune.plan.draft import Draft, Estimate
from prune.plan.eliminate import remove_candidates
from prune.plan.moves import Candidate, removed_layers, restored
from prune.plan.search_result import Harm

DEAR = 1 / 4
"""Share of the allowed loss that a pathway has to win back, beyond what removing it is worth, to be
restored at the end. Less may be chance."""


@dataclass(frozen=True, eq=False)
class Restoration:
    """The plan with one pathway restored in every layer.

    Attributes:
        found: what it loses, by the part of the samples that rank plans.
    """

    pathway: Pathway
    reach: Reach
    found: Estimate


def repay(draft: Draft, ranked: list[Candidate]) -> None:
    """Restore what the required saving does not need: the local refinement.

    A cut made under a smaller allowance may be what the plan needs now, and a structure often saves
    more than was missing.
    """
    wins = []
    for pathway in _pathways(ranked):
        reach = affordable(draft, pathway)
        if draft.differs(reach) and draft.runs_left > 0:
            score = draft.run(reach, draft.lost)
            draft.note(f"{pathway.title} restored where it is free", reach, score, False)
            lost = draft.budget.loss(score, draft.problem.dense)
            wins.append((lost, pathway.name, pathway))
    for lost, _, pathway in sorted(wins):
        reach = affordable(draft, pathway)
        if lost < draft.lost and draft.differs(reach):
            draft.holds(reach, f"{pathway.title} where it is free", draft.lost)


def affordable(draft: Draft, pathway: Pathway) -> Reach:
    """The plan with a pathway restored in each layer where enough stays saved."""
    reach = draft.reach
    for layer in range(len(reach)):
        more = restored(reach, pathway, [layer])
        reach = more if draft.reached(more) else reach
    return reach


def settle(draft: Draft, ranked: list[Candidate]) -> list[Restoration]:
    """Restore a pathway that is not worth its loss, in favour of others: the local refinement.

    A cut is judged given those before it, and later ones can increase its loss.

    Returns:
        What was tried on the plan that stays.
    """
    allowed, kept, refuted = draft.budget.allowance, set[Pathway](), set[Pathway]()
    tried = restorations(draft, ranked)
    while True:
        worth = draft.worth(allowed)
        excess = {
            one: worth(one.reach) - one.found.lost
            for one in tried
            if one.pathway not in kept | refuted
        }
        dearest = max(excess, key=excess.__getitem__, default=None)
        if dearest is None or excess[dearest] <= DEAR * allowed:
            return tried
        step = draft.on_all(dearest.found.step, dearest.reach)
        lost = draft.budget.loss(step.score, draft.problem.dense)
        if worth(dearest.reach) - lost <= DEAR * allowed:
            refuted.add(dearest.pathway)
            continue
        draft.reach, draft.score = dearest.reach, step.score
        draft.steps[draft.steps.index(step)] = replace(step, accepted=True)
        kept.add(dearest.pathway)
        refuted.clear()
        others = [candidate for candidate in ranked if candidate.pathway not in kept]
        remove_candidates(draft, others, allowed, alone=False)
        tried = restorations(draft, ranked)


def restorations(draft: Draft, ranked: list[Candidate]) -> list[Restoration]:
    """Run the plan with each of its removed pathways restored."""
    tried = []
    for pathway in _pathways(ranked):
        if removed_layers(draft.reach, pathway, draft.histogram):
            reach = restored(draft.reach, pathway)
            found = draft.estimate(f"{pathway.title} restored", reach)
            tried.append(Restoration(pathway, reach, found))
    return tried


def harms(draft: Draft, tried: list[Restoration]) -> tuple[Harm, ...]:
    """What restoring each removed pathway would win back, the largest first."""
    found, now = [], draft.cost(draft.reach)
    for one in tried:
        score, before = one.found.step.score, one.found.before
        won = score.accuracy - before.accuracy, score.expected - before.expected
        agreed = score.agreement - before.agreement
        saved = (one.found.step.cost.flops - now.flops) / draft.dense_cost.flops
        layers = removed_layers(draft.reach, one.pathway, draft.histogram)
        found.append(Harm(one.pathway.title, tuple(layers), won, saved, agreed, score.samples))
    return tuple(sorted(found, key=lambda harm: -max(*harm.points, harm.agreement)))


def _pathways(ranked: list[Candidate]) -> list[Pathway]:
    """Those of candidates, by name."""
    return sorted({candidate.pathway for candidate in ranked}, key=lambda pathway: pathway.name)
