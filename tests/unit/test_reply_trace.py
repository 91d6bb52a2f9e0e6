"""Traces of whole replies: incremental is plain, and a knockout loses what a plan would."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import prepare, under
from prune.evaluate.replies import Replies
from prune.inputs.replying import Replying
from prune.inputs.samples import Sample, save_samples
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import PATHWAYS, knockout
from prune.runtime.attention import seam
from prune.trace.ask import AsWritten
from prune.trace.dense_pass import record_dense
from prune.trace.incremental import knockout_states
from prune.trace.knockout import Knockouts, plain_states
from prune.trace.reply_case import trace_reply
from prune.trace.trace import Trace
from tests.helpers import without_options

NAMES = ("cross_frame", "video_to_last", "reply->reply", "video->reply", "last_to_last")
REFERENCE = AsWritten(Replying("reference"))


@pytest.fixture(scope="module")
def transition(samples: list[Sample]) -> Sample:
    """Its reply has four tokens."""
    return next(without_options(s) for s in samples if s.task == "scene_transition")


def test_incremental_knockouts_of_a_reply_are_the_plain_ones(
    tiny: LoadedModel, transition: Sample
) -> None:
    (case,) = REFERENCE.cases(tiny.model, tiny.processor, transition, 8)
    assert len(case.reply) == 4
    knockouts = Knockouts([find_pathway(name) for name in NAMES], 12, 5)
    with seam(tiny.model):
        plain = plain_states(case.replay, knockouts, 4)[:, :, 0]
        dense = record_dense(case.replay, 4)
        fast = knockout_states(dense, knockouts.pathways, knockouts.windows())
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    changed = (fast - dense.states).abs().amax((1, 3)) > 1e-3
    # A reply's first token is predicted before there is a reply, by `last`, which reads itself.
    assert changed.tolist() == [[True] * 4] * 5


def test_a_knockout_of_the_last_token_is_that_of_a_plan(
    tiny: LoadedModel, transition: Sample
) -> None:
    pathway, window = PATHWAYS["video_to_last"], list(range(12))
    (case,) = REFERENCE.cases(tiny.model, tiny.processor, transition, 8)
    (batch,), _ = prepare(
        tiny.model, tiny.processor, [transition], 8, 1, replying=Replying("reference")
    )
    with seam(tiny.model):
        dense = record_dense(case.replay, 4)
        cut = knockout_states(dense, [pathway], [window])[0, 0]
        planned = under(knockout(12, pathway, window))(batch)[0]
    torch.testing.assert_close(cut, planned, atol=1e-4, rtol=1e-4)


def test_the_measures_of_a_reply_are_those_of_the_evaluation(
    tiny: LoadedModel, transition: Sample
) -> None:
    pathway = PATHWAYS["cross_frame"]
    (case,) = REFERENCE.cases(tiny.model, tiny.processor, transition, 8)
    with seam(tiny.model):
        record = trace_reply(tiny.processor, case, Knockouts([pathway], 12, 5))
    batches, _ = prepare(
        tiny.model, tiny.processor, [transition], 8, 1, replying=Replying("reference")
    )
    found = Replies(tiny.model, batches)
    (one,) = found.follow(under(knockout(12, pathway, list(range(1, 6)))))
    measured = record["knockouts"]["cross_frame"]
    assert record["tokens"] == 4 and str(transition.reply) in record["reply"]
    assert measured["dlogp_answer"][3] == pytest.approx(one.mean_dlogp, abs=1e-4)
    assert measured["kl"][3] == pytest.approx(one.mean_kl, abs=1e-4)
    assert (measured["agreement"][3], measured["prefix"][3]) == (one.agreement, one.prefix)
    fall = np.log(measured["p_answer"][3] / record["p_answer"])
    assert fall == pytest.approx(one.mean_dlogp, abs=1e-4)


def test_a_mixed_data_set_is_traced_with_one_command(
    samples: list[Sample], clips: Path, tmp_path: Path, prune_command: Callable[..., tuple]
) -> None:
    mixed = [samples[0], without_options(samples[1])]
    save_samples(clips / "mixed.jsonl", mixed)
    run = tmp_path / "run"
    command = ("trace", "tiny", "--data", clips / "mixed.jsonl", "--out", run, "--samples", "all")
    code, out, err = prune_command(*command)
    assert code == 0, err
    assert "2 of 2 samples traced (1 correct, 1 open)" in out
    trace = Trace.load(run)
    assert trace.header["asking"] == {"way": "as written", "source": "own", "max_tokens": 64}
    choice, told = (record["cases"][0] for record in trace.records)
    assert "true" in choice and "true" not in told and told["tokens"] >= 1
    assert trace.pathways()[-1] == find_pathway("reply->reply")
    assert np.isfinite(trace.harm("video_to_last")).all()
    assert "agreement" in (run / "flow.csv").read_text()
    again, _, said = prune_command(*command, "--reply-tokens", 8)
    assert again == 4 and "asking.max_tokens" in said
