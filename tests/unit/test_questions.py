"""A question whose logits are NaN fails alone, for every run, and the others keep their answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prune.checkpoint.load import LoadedModel, open_model
from prune.errors import NumericError
from prune.evaluate.answers import answer, prepare, under
from prune.evaluate.calibration import calibrate
from prune.evaluate.questions import Questions
from prune.inputs.samples import Sample
from prune.journal.progress import silent
from prune.layout.reach import dense_reach
from prune.learn.heal import HealSettings
from prune.runtime.attention import seam
from prune.workflows.heal import heal_model
from prune.workflows.measure_plan import measure_plan
from tests.unit.test_apply import mixed_plan

ASKED = 4


def word_of(opened: LoadedModel, samples: list[Sample]) -> int:
    """A token of the second question alone."""
    encode = opened.processor.tokenizer.encode
    words = [set(encode(" ".join([s.question, *s.options]))) for s in samples]
    return min(words[1].difference(words[0], *words[2:]))


@pytest.fixture
def broken(samples: list[Sample]) -> Iterator[LoadedModel]:
    """`tiny` with NaN as the embedding of a word of the second question."""
    opened = open_model("tiny")
    weights = opened.model.get_input_embeddings().weight.data
    weights[word_of(opened, samples[:ASKED])] = float("nan")
    yield opened


def questions(opened: LoadedModel, samples: list[Sample]) -> Questions:
    batches, failed = prepare(opened.model, opened.processor, samples, 8, ASKED)
    return Questions(opened, 8, batches, failed)


def test_the_others_keep_their_answers(
    tiny: LoadedModel, broken: LoadedModel, samples: list[Sample]
) -> None:
    run = under(dense_reach(12))
    asked = questions(tiny, samples[:ASKED])
    wanted = [a for a in asked.ask(run) if a.id != samples[1].id]
    assert not asked.failed and len(asked.batches) == 1
    asked, done = questions(broken, samples[:ASKED]), list[int]()
    with seam(broken.model), pytest.raises(NumericError):
        answer(broken.model, broken.processor, asked.batches, run)
    found = asked.ask(run, done.append)
    assert [(a.id, a.choice) for a in found] == [(a.id, a.choice) for a in wanted]
    assert list(asked.failed) == [samples[1].id] and "NaN" in asked.failed[samples[1].id]
    assert done == [ASKED]
    assert [a.id for a in asked.ask(run)] == [a.id for a in found]
    with pytest.raises(NumericError, match="no sample could be used"):
        questions(broken, [samples[1]]).ask(run)


def test_earlier_answers_to_what_failed_later_do_not_count(
    tiny: LoadedModel, broken: LoadedModel, samples: list[Sample]
) -> None:
    asked = questions(tiny, samples[:ASKED])
    before = asked.ask(under(dense_reach(12)))
    asked.opened, asked.batches = broken, questions(broken, samples[:ASKED]).batches
    after = asked.ask(under(dense_reach(12)))
    assert [a.id for a in asked.left(before)] == [a.id for a in after]
    assert len(before) == ASKED == len(after) + 1


def test_calibration_measures_without_it(broken: LoadedModel, samples: list[Sample]) -> None:
    found = calibrate(broken, samples[:ASKED], 8)
    assert found.score.samples == ASKED - 1


def test_a_plan_is_measured_without_it(broken: LoadedModel, samples: list[Sample]) -> None:
    plan = mixed_plan(broken)
    result = measure_plan(broken, plan, samples[1:ASKED], 2, silent, seeds=1)
    assert list(result.failed) == [samples[1].id]
    assert result.accuracy is not None and result.accuracy.overall.n == ASKED - 2
    assert all(row.difference.value <= 100 for row in result.baselines)


@pytest.mark.parametrize("which", [(0, 2), (2, 0)], ids=["learned", "held out"])
def test_a_model_is_healed_without_it(
    broken: LoadedModel, samples: list[Sample], tmp_path: Path, which: tuple[int, int]
) -> None:
    split = [samples[:2], samples[2:ASKED]]
    learn, test = split if which[0] == 0 else split[::-1]
    found = heal_model(
        broken, mixed_plan(broken), learn, test, 2, HealSettings(1, rank=0), tmp_path / "x"
    )
    assert list(found.failed) == [samples[1].id]
    assert found.n == (2 if which[0] == 0 else 1)
