"""`prune eval` on open questions: replies of one model, of two, and of an export."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prune.evaluate.reply_report import drift, reply_rows
from prune.evaluate.text_scores import similarity
from prune.inputs.samples import Sample, save_samples
from prune.results.reply import ForcedReply
from prune.workflows.evaluate import evaluate_model
from tests.helpers import without_options


@pytest.fixture(scope="module")
def mixed(samples: list[Sample], clips: Path) -> Path:
    chosen = [samples[0], *map(without_options, samples[1:6])]
    save_samples(clips / "mixed-eval.jsonl", chosen)
    return clips / "mixed-eval.jsonl"


def test_an_export_is_forced_through_the_replies_of_its_dense_model(
    exported: Path, mixed: Path, prune_command: Callable[..., tuple]
) -> None:
    code, out, err = prune_command("eval", exported, "--data", mixed, "--reply-tokens", 6)
    assert code == 0, err
    assert "free" in out and "forced through the dense model's own replies" in out
    found = evaluate_model(exported, mixed).replies
    assert found is not None and found.overall is not None and found.overall.n == 5
    assert 0 <= found.overall.agreement.low <= found.overall.agreement.value <= 100
    assert [(row.of, row.to, row.n) for row in found.free] == [
        ("pruned", "dense", 5), ("dense", "references", 5), ("pruned", "references", 5)
    ]  # fmt: skip
    same = 100 * sum(e.dense == e.pruned for e in found.examples) / 5
    assert found.free[0].exact == same
    # Those that differ come first.
    differ = [e.dense != e.pruned for e in found.examples]
    assert differ == sorted(differ, reverse=True)


def test_two_models_reply_side_by_side(mixed: Path) -> None:
    found = evaluate_model("tiny", mixed, against="tiny-ov")
    assert found.comparison is not None and found.comparison.overall.n == 1
    assert found.replies is not None and found.replies.overall is None
    assert [(row.of, row.to) for row in found.replies.free] == [
        ("this model", "against"), ("against", "references"), ("this model", "references")
    ]  # fmt: skip
    alone = evaluate_model("tiny", mixed).replies
    assert alone is not None
    assert [(row.of, row.to) for row in alone.free] == [("this model", "references")]
    assert alone.free[0].exact == found.replies.free[2].exact


def test_scores_are_those_of_the_libraries() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import CHRF

    said, told = ["a red ball rolls left", "nothing"], ["a red ball rolls to the left", "nothing"]
    found = similarity("pruned", "dense", said, told)
    assert found.exact == 50 and found.n == 2
    assert found.chrf == pytest.approx(CHRF().corpus_score(said, [told]).score)
    scorer = RougeScorer(["rougeL"])
    pairs = zip(told, said, strict=True)
    each = [scorer.score(a, b)["rougeL"].fmeasure for a, b in pairs]
    assert found.rouge_l == pytest.approx(50 * sum(each)) and 50 < found.rouge_l < 100


def test_drift_is_measured_where_replies_are_long_enough() -> None:
    same = [True] * 15 + [False] * 5 + [True] * 44
    long = ForcedReply("a", "t", (0.0,) * 64, (0.5,) * 64, tuple(same), (0.1,) * 64, "v")
    short = ForcedReply("b", "t", (0.0,), (0.0,), (True,), (-0.2,), "w")
    rows, overall = reply_rows([long, short])
    assert len(rows) == 1 and overall.tokens == 32.5
    assert overall.agreement.value == pytest.approx((100 * 59 / 64 + 100) / 2)
    assert overall.prefix.value == pytest.approx((100 * 15 / 64 + 100) / 2)
    assert overall.kl.mean == pytest.approx(0.25)
    # Tokens that flip count whole, and without any the probability that is lost.
    assert long.lost == pytest.approx(100 * max(0.1, 5 / 64)) and short.lost == 0
    free = {"a": list(range(64)), "b": [1]}, {"a": [*range(40), *[0] * 24], "b": [1]}
    first, second = drift([long, short], *free)
    assert (first.length, first.n, second.length) == (16, 1, 64)
    assert first.agreement.value == pytest.approx(100 * 15 / 16)
    assert first.together is not None and first.together.value == 100
    assert second.together is not None and second.together.value == 0
    assert drift([long], free[0], None)[0].together is None
