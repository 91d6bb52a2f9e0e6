"""Budgets over replies: limits of agreement and divergence, alone and beside accuracy."""

import math

import pytest

from prune.errors import UsageError
from prune.plan.budget import Budget, Score

DENSE = Score(90.0, 80.0, 0.0, 100, open=40)


def test_limits_of_the_harm_go_together_and_savings_do_not() -> None:
    both = Budget.of(max_drop=0.5, min_agreement=95.0, max_kl=None)
    assert both.limits == (("max_drop", 0.5), ("min_agreement", 95.0))
    assert both.asked == "--max-drop 0.5 --min-agreement 95"
    for wrong in ({}, {"density": 0.5, "max_drop": 1.0}, {"density": 0.5, "kv_bytes": 10.0}):
        with pytest.raises(UsageError, match=r"limits of the harm \(--max-drop, --max-kl, "):
            Budget.of(**wrong)
    assert Budget.default(9, 0) == Budget("max_drop", 0.5)
    assert Budget.default(0, 9) == Budget("min_agreement", 98.0)
    assert Budget.default(9, 9).limits == (("max_drop", 0.5), ("min_agreement", 98.0))


def test_the_limit_that_is_used_up_most_counts() -> None:
    budget = Budget.of(max_drop=2.0, min_agreement=90.0, max_kl=0.1)
    lost = Score(90.0, 79.5, 0.01, 100, agreement=98.0)
    # A quarter of the points, a tenth of the nats, a fifth of the agreement.
    assert budget.loss(lost, DENSE) == pytest.approx(0.5)
    apart = Score(90.0, 79.5, 0.01, 100, agreement=92.0)
    assert budget.loss(apart, DENSE) == pytest.approx(2.0 * 0.8)
    far = Score(90.0, 79.5, 0.3, 100, agreement=98.0)
    assert budget.loss(far, DENSE) == pytest.approx(2.0 * 3)
    exact = Budget.of(max_drop=2.0, min_agreement=100.0)
    assert exact.loss(apart, DENSE) == math.inf
    assert exact.loss(Score(90.0, 79.5, 0.0, 100), DENSE) == pytest.approx(0.5)


def test_agreement_is_lost_with_its_error_and_by_the_worst_task() -> None:
    budget = Budget("min_agreement", 95.0)
    assert budget.allowance == 5.0
    one = Score(0.0, 0.0, 0.0, 100, agreement=97.0, agreement_spread=10.0)
    assert budget.loss(one, DENSE) == pytest.approx(3.0 + 1.0)
    fading = Score(0.0, 0.0, 0.0, 100, agreement=99.0, disagreement=2.5)
    assert budget.loss(fading, DENSE) == pytest.approx(2.5)
    task = Score(0.0, 0.0, 0.0, 100, agreement=97.0, agreement_worst=30.0)
    assert budget.loss(task, DENSE) == pytest.approx(10.0)
    assert budget.samples_needed(one) == math.ceil((1.96 * 10 / 5) ** 2)


def test_a_required_saving_loses_what_the_samples_can_lose() -> None:
    budget = Budget("density", 0.5)
    lost = Score(90.0, 77.0, 0.0, 100, agreement=99.0)
    assert budget.loss(lost, DENSE) == pytest.approx(3.0)
    assert budget.loss(lost, Score(0.0, 0.0, 0.0, 100, open=100)) == pytest.approx(1.0)
    assert budget.loss(lost, Score(90.0, 80.0, 0.0, 100)) == pytest.approx(3.0)


def test_a_budget_that_says_nothing_of_some_questions_is_refused() -> None:
    Budget("max_drop", 0.5).check(9, 0)
    Budget.of(max_drop=0.5, max_kl=0.1).check(5, 4)
    Budget("density", 0.5).check(0, 9)
    with pytest.raises(UsageError, match="4 of 9 questions are open, which --max-drop does not"):
        Budget("max_drop", 0.5).check(5, 4)
    with pytest.raises(UsageError, match="--max-drop needs questions with options"):
        Budget.of(max_drop=0.5, min_agreement=95.0).check(0, 9)
