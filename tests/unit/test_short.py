"""`--short` leaves cases that meet every value of every parameter."""

from itertools import product

from tests.short import diagonal

WAYS, PLANS, PROMPTS = (
    ["greedy", "beams", "chunks", "threads"],
    ["narrow", "random"],
    [[1], [2], []],
)


def test_every_value_is_met_in_other_combinations() -> None:
    cases = [
        ("test", {"way": way, "plan": plan, "prompt": prompt})
        for way, plan, prompt in product(WAYS, PLANS, PROMPTS)
    ]
    kept = [
        (values["way"], values["plan"], values["prompt"])
        for (_, values), chosen in zip(cases, diagonal(cases), strict=True)
        if chosen
    ]
    assert kept == [
        ("greedy", "narrow", [1]), ("beams", "random", [2]),
        ("chunks", "narrow", []), ("threads", "random", [1]),
    ]  # fmt: skip


def test_a_value_that_no_such_case_has_is_met_by_another() -> None:
    some = [("beams", "a"), ("beams", "b"), ("beams", "c"), ("greedy", "a"), ("greedy", "c")]
    cases = [("test", {"way": way, "plan": plan}) for way, plan in some]
    assert diagonal(cases) == [True, True, True, True, False]


def test_tests_without_parameters_and_other_tests_stay() -> None:
    cases = [("one", {}), ("two", {"plan": "narrow"}), ("three", {"plan": "narrow"})]
    assert diagonal(cases) == [True, True, True]
