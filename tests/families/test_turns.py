"""Conversations: roles of earlier turns, and answers with a kept cache."""

import pytest

from prune.checkpoint.load import LoadedModel
from prune.errors import RefusedError
from prune.evaluate.later_turns import later_turns, turn_ends
from prune.inputs.encode import check_samples, decode, encode, prompt_of
from prune.inputs.samples import Sample, load_samples
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.layout.segments import Role, segment
from prune.plan.plan import Plan
from prune.tiny.benchmark import write_benchmark
from prune.tiny.chats import MOST_TURNS, write_chats
from prune.tiny.open_questions import without_options


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("chats")
    return load_samples(write_chats(write_benchmark(folder, "test", 3), "test", 3))


def test_each_clip_has_its_own_number_of_turns(chats: list[Sample]) -> None:
    assert {len(sample.turns) for sample in chats} == set(range(1, MOST_TURNS + 1))
    assert all(text.startswith("Question: ") and reply for s in chats for text, reply in s.turns)


def test_written_turns_have_the_roles_of_the_same_conversation_by_others(
    tiny: LoadedModel, chats: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    for sample in chats[:9]:
        inputs = encode(tiny.processor, [sample], [decode(sample, 8)])
        written = segment(tiny.processor, inputs)
        with monkeypatch.context() as patch:
            patch.setattr("prune.layout.segments.recall", lambda ids: None)
            found = segment(tiny.processor, inputs)
        assert (written.role == found.role).all() and (written.option == found.option).all()
        history = inputs["input_ids"][0, written.role[0] == Role.HISTORY]
        text = tiny.processor.tokenizer.decode(history)
        assert all(part in text for turn in sample.turns for part in turn)
        assert sample.question not in text


def test_prompts_of_turns_are_the_beginning_of_the_conversation(
    tiny: LoadedModel, chats: list[Sample]
) -> None:
    sample = max(chats, key=lambda one: len(one.turns))
    inputs = encode(tiny.processor, [sample], [decode(sample, 8)])
    ids = inputs["input_ids"][0]
    ends = turn_ends(tiny.processor, sample, len(ids))
    assert ends == sorted(set(ends)) and ends[-1] == len(ids)
    for end, (asked, reply) in zip(ends, sample.turns, strict=False):
        before, after = (tiny.processor.tokenizer.decode(part) for part in (ids[:end], ids[end:]))
        assert before.endswith(f"{asked} ASSISTANT:") and after.strip().startswith(reply)


def test_a_kept_cache_answers_as_the_whole_conversation_does(
    tiny: LoadedModel, chats: list[Sample]
) -> None:
    both = [chats[0], *map(without_options, chats[4:6])]
    report, failed = later_turns(tiny, Plan(dense_reach(12), tiny.id, "dense"), both, 8, 4)
    assert report is not None and not failed
    overall = report.rows[-1]
    assert (overall.n, overall.sent.value, overall.kept.value) == (3, 100, 100)
    assert report.cache == pytest.approx(1)

    reach = dense_reach(12)
    for name in ("video_to_question_sealed", "video_to_options", "video_to_last"):
        remove_pathway(reach, PATHWAYS[name], slice(6, None))
    report, failed = later_turns(tiny, Plan(reach, tiny.id, "late"), both, 8, 4)
    assert report is not None and not failed
    # Keys of the video are read by later questions in the first half of the layers alone.
    assert report.cache < 0.9


def test_later_turns_are_none_without_turns(tiny: LoadedModel, samples: list[Sample]) -> None:
    assert later_turns(tiny, Plan(dense_reach(12), tiny.id, "dense"), samples[:2], 8, 4) == (
        None,
        {},
    )


def test_a_template_without_replies_is_refused(
    tiny: LoadedModel, chats: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = "{% for m in messages %}{% for i in m.content %}USER: {% if i.type == 'video' %}<video>"
    deaf += "{% else %}{{ i.text }}{% endif %}{% endfor %}{% endfor %} ASSISTANT:"
    monkeypatch.setattr(tiny.processor.tokenizer, "chat_template", deaf)
    with pytest.raises(RefusedError, match="writes no replies"):
        check_samples(tiny.processor, chats[:1])
    with pytest.raises(RefusedError, match="writes no replies"):
        prompt_of(tiny.processor, chats[0])
