"""The search from a trace to a plan: remove what costs much and carries little, and check it.

Trace scores only rank. Whether a step stays is decided by real runs of the pruned model on the
calibration samples. Everything is deterministic: the same trace and samples give the same plan.
"""

from collections.abc import Callable

from prune.plan.budget import Budget
from prune.plan.draft import Draft, Problem
from prune.plan.eliminate import descend, finish, split
from prune.plan.mend import mend
from prune.plan.moves import Candidate, closed
from prune.plan.plan import Plan
from prune.plan.refine import harms, repay, restorations, settle
from prune.plan.search_result import SearchResult, SearchStep

LADDER = (0.25, 1.0, 4.0, 16.0, 64.0)
"""Allowances in points, tried in turn until a plan reaches the required saving. Each has an equal
share of the runs, and so has restoring, since most are far from the required saving."""


def search(
    problem: Problem,
    ranked: list[Candidate],
    budget: Budget,
    *,
    max_runs: int,
    method: str = "greedy",
    heads: int | None = None,
    on_step: Callable[[SearchStep], None] = lambda step: None,
) -> SearchResult:
    """Find the cheapest plan within a budget.

    First each structure (`prune.plan.moves.slides`) is taken to the farthest acceptable setting;
    then candidates are removed in blocks, in order of loss per saving, as a forecast expects it
    (`prune.plan.foreseen`) or as it was measured for each alone. At the end pathways that later
    cuts made costly are restored, in favour of others.
    Where a budget requires a saving, the first two steps are repeated with a larger allowance until
    it is reached, so that the least is lost; what is still missing after the last allowance is
    removed regardless of the loss. Then what the saving does not need is restored.

    Ctrl-C ends the search with the best plan so far.

    Args:
        problem: what to search for.
        ranked: candidates (`prune.plan.moves.candidates`), in any order.
        budget: the allowed loss or the required saving.
        max_runs: most passes over the calibration samples, in addition to one per reported harm.
            A run that is abandoned early counts in part, and a forecast as the passes it takes.
        method: source of the ranking, for the plan's origin.
        heads: Hkv, to continue with single KV heads where a whole layer's pathway has to stay. It
            removes more edges, but no more states.
        on_step: called after each.

    Raises:
        BadInputError: the budget cannot be reached with these candidates.
    """
    draft = Draft(problem, budget, max_runs, on_step)
    interrupted = spent = False
    try:
        if budget.objective == "hallucination":
            mend(draft, ranked, problem.model.num_kv_heads)
        elif budget.limits_harm:
            descend(draft, ranked, budget.allowance)
            if heads is not None:
                split(draft, ranked, heads, budget.allowance)
        else:
            for rung, allowed in enumerate(LADDER):
                draft.reserve = max_runs * (1 - (rung + 1) / (len(LADDER) + 1))
                descend(draft, ranked, allowed)
                if draft.done:
                    break
            else:
                finish(draft, ranked)
            repay(draft, ranked)
        spent = draft.runs_left <= 0
        settles = budget.limits_harm and budget.objective != "hallucination"
        tried = settle(draft, ranked) if settles else restorations(draft, ranked)
        measured = harms(draft, tried)
    except KeyboardInterrupt:
        interrupted, measured = True, ()
    if budget.limits_harm:
        draft.reach = closed(draft.reach)
    named = budget.limits or ((budget.kind, budget.value),)
    return SearchResult(
        plan=Plan(
            draft.reach,
            problem.model,
            ", ".join(f"{kind.replace('_', ' ')} {value:g}" for kind, value in named),
            {"method": method, "objective": budget.objective, **dict(named)},
        ),
        score=draft.score,
        cost=draft.cost(draft.reach),
        dense=problem.dense,
        dense_cost=draft.dense_cost,
        steps=tuple(draft.steps),
        harms=measured,
        interrupted=interrupted,
        ended=_ended(budget, interrupted, f"all {max_runs:,} runs used" if spent else None),
        foreseen=round(draft.foreseen * problem.dense.samples),
        exhaustive=len(ranked) * (len(ranked) + 1) // 2 * problem.dense.samples,
        budget=budget,
    )


def _ended(budget: Budget, interrupted: bool, spent: str | None) -> str:
    if interrupted:
        return "interrupted, with the best plan so far"
    if not budget.limits_harm:
        return "budget met"
    return spent or "no candidate is worth more"
