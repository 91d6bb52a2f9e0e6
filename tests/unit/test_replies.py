"""Replies that a model is forced through: exact, and the ones that generation would give."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import prune
from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import prepare, under
from prune.evaluate.forced import reference_ids
from prune.evaluate.replies import Replies
from prune.inputs.encode import prompt_of, read
from prune.inputs.reply import continued, greedy_reply
from prune.inputs.replying import Replying
from prune.inputs.samples import Sample
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.layout.segments import Role
from prune.plan.plan import Plan
from prune.runtime.attention import seam
from prune.runtime.prefill import pruned_states
from prune.runtime.resume import ResumableRun
from tests.helpers import without_options

LAYERS = 12
LONG = "from the desert to the sea and then to the forest and then to the night."


@pytest.fixture(scope="module")
def asked(samples: list[Sample]) -> list[Sample]:
    """Open questions whose replies have between one and some twenty tokens."""
    chosen = [without_options(sample) for sample in samples[:6]]
    return [*chosen[:-1], replace(chosen[-1], reply=LONG)]


@pytest.fixture(scope="module")
def plan(tiny: LoadedModel) -> Plan:
    """Harmful enough to change some replies and not all."""
    reach = dense_reach(LAYERS)
    remove_pathway(reach, PATHWAYS["cross_frame"], slice(0, 8))
    remove_pathway(reach, PATHWAYS["video_to_last"], slice(None))
    remove_pathway(reach, PATHWAYS["video_to_video"], slice(9, None))
    remove_pathway(reach, PATHWAYS["video_to_question_sealed"], slice(9, None))
    return Plan(reach, tiny.id, "harsh")


def followed(tiny: LoadedModel, asked: list[Sample], source: str = "own") -> Replies:
    batches, failed = prepare(
        tiny.model,
        tiny.processor,
        asked,
        8,
        32,
        replying=Replying(source, 16),  # type: ignore[arg-type]
    )
    assert not failed
    return Replies(tiny.model, batches)


def test_a_batch_of_replies_is_what_the_model_says_of_each_alone(
    tiny: LoadedModel, asked: list[Sample]
) -> None:
    found = followed(tiny, asked, "reference")
    (batch,) = found.batches
    lengths = [len(ids) for ids in batch.replies]
    assert min(lengths) == 1 and max(lengths) == 16 < len(reference_ids(tiny.processor, asked[-1]))
    with seam(tiny.model):
        states = under(dense_reach(LAYERS))(batch)
    head = tiny.model.get_output_embeddings()
    for row, (sample, ids) in enumerate(zip(asked, batch.replies, strict=True)):
        inputs = read(tiny.processor, [sample], 8)
        with torch.no_grad():
            alone = tiny.model(**continued(inputs, ids)).logits[0, -len(ids) - 1 : -1]
        torch.testing.assert_close(head(states[row, -len(ids) :]), alone, atol=2e-4, rtol=1e-4)
        text = tiny.processor.tokenizer.decode(list(ids))
        assert (" " + str(sample.reply)).startswith(text)
        assert prompt_of(tiny.processor, sample).text.endswith("ASSISTANT:")


def test_forcing_agrees_as_far_as_generation_does(
    tiny: LoadedModel, asked: list[Sample], plan: Plan
) -> None:
    found = followed(tiny, asked)
    dense = found.follow(under(dense_reach(LAYERS)))
    assert all(all(one.same) and max(one.kl) == 0 == max(one.dlogp) for one in dense)
    pruned = found.follow(under(plan.reach))
    (batch,) = found.batches
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        free = [greedy_reply(tiny.model, read(tiny.processor, [s], 8), 16) for s in asked]
    for one, ids, reply in zip(pruned, batch.replies, free, strict=True):
        together = zip(ids, [*reply, *[-1] * len(ids)], strict=False)
        alike = [a == b for a, b in together]
        assert one.prefix == (alike.index(False) if False in alike else len(ids))
    changed = [one for one in pruned if not all(one.same)]
    assert 0 < len(changed) < len(pruned), "the plan must change some replies and not all"
    assert all(one.agreement < 100 and one.mean_kl > 0.01 for one in changed)


def test_resumed_runs_and_skipped_states_end_alike(
    tiny: LoadedModel, asked: list[Sample], plan: Plan
) -> None:
    (batch,) = followed(tiny, asked, "reference").batches
    role = batch.replay.segments.role
    assert (role == Role.ANSWER).any() and ((role == Role.LAST).sum(1) == 1).all()
    halfway = plan.reach.copy()
    halfway[:6] = dense_reach(LAYERS)[:6]
    with seam(tiny.model):
        run = ResumableRun(batch.replay, [4, 8])
        run.states(plan.reach, batch.count)
        resumed = run.states(halfway, batch.count)
        whole = pruned_states(batch.replay, halfway, batch.count)
    for row, ids in enumerate(batch.replies):
        kept = slice(-len(ids), None)
        torch.testing.assert_close(resumed[row, kept], whole[row, kept], atol=1e-4, rtol=1e-4)


def test_a_sample_without_a_reply_fails_and_no_other(
    tiny: LoadedModel, asked: list[Sample], tmp_path: Path
) -> None:
    silent = replace(asked[0], id="silent", reply=None)
    gone = replace(asked[1], id="gone", video=tmp_path / "gone.mp4")
    batches, failed = prepare(
        tiny.model, tiny.processor, [*asked[2:4], silent, gone], 8, 32,
        replying=Replying("reference"),
    )  # fmt: skip
    assert [s.id for batch in batches for s in batch.samples] == [s.id for s in asked[2:4]]
    assert failed == {
        "silent": "the data has no reply to it", "gone": f"{gone.video}: no such video file"
    }  # fmt: skip


def test_a_row_with_nan_fails_alone(tiny: LoadedModel, asked: list[Sample]) -> None:
    found = followed(tiny, asked[:3])
    run = under(dense_reach(LAYERS))

    def spoiled(batch: object) -> torch.Tensor:
        states = run(batch)  # type: ignore[arg-type]
        states[1] = float("nan")
        return states

    kept = found.follow(spoiled)
    assert [one.id for one in kept] == [asked[0].id, asked[2].id]
    assert found.failed == {asked[1].id: "the model's logits are NaN or infinite"}
    assert len(found.left(found.follow(run))) == 2
