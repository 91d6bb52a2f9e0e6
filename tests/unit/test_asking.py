"""Open questions: a prefix of the reply, and anchors in the model's own."""

from pathlib import Path

import pytest
import spacy
import torch

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, UsageError
from prune.inputs.encode import decode, encode, open_prompt
from prune.inputs.reply import greedy_reply
from prune.inputs.samples import Sample
from prune.layout.pathway_names import find_pathway
from prune.layout.segments import Role
from prune.trace.anchors import matches, verbs
from prune.trace.ask import Choice, OwnReply, Prefix, ask
from prune.trace.knockout import Knockouts
from prune.trace.sample import trace_sample
from prune.trace.sets import SETS
from prune.trace.windows import Style

WORDS = OwnReply(matches(r"\w+"), {"anchor": r"\w+"}, max_tokens=12)


@pytest.fixture(scope="module")
def transition(samples: list[Sample]) -> Sample:
    """Its reply has several words: "from sea to desert"."""
    return next(s for s in samples if s.task == "scene_transition")


@torch.no_grad()
def test_every_anchor_has_its_own_prompt(tiny: LoadedModel, transition: Sample) -> None:
    inputs = encode(tiny.processor, [transition], [decode(transition, 8)], open_prompt)
    prompt = inputs["input_ids"].shape[1]
    reply = greedy_reply(tiny.model, inputs, 12)
    ids = torch.cat([inputs["input_ids"], torch.tensor([reply])], 1)
    whole = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    p = tiny.model(**whole).logits[0, prompt - 1 : -1].softmax(-1)
    expected = [float(row[token]) for row, token in zip(p, reply, strict=True)]

    cases = WORDS.cases(tiny.model, tiny.processor, transition, 8)
    assert [case.token for case in cases] == reply, "a word is a token of tiny"
    assert " ".join(case.anchor or "" for case in cases) == transition.options[transition.answer]
    for place, case in enumerate(cases):
        role = case.replay.segments.role[0].tolist()
        assert len(role) == prompt + place and role[-1] == Role.LAST
        assert role.count(Role.ANSWER) == max(0, place - 1)
        assert role.count(Role.LAST) == 1

    knockouts = Knockouts(SETS["open-ended"], 12, 3)
    record = trace_sample(tiny.model, tiny.processor, transition, 8, knockouts, "all", WORDS)
    got = [case["p_answer"] for case in record["cases"]]
    assert got == pytest.approx(expected, rel=1e-3)
    effect = [max(case["knockouts"]["response->last"]["kl"]) for case in record["cases"]]
    assert effect[0] == effect[1] == 0 < effect[3], "only later words have a reply to read"


def test_both_ways_agree_behind_a_reply(tiny: LoadedModel, transition: Sample) -> None:
    records = [
        trace_sample(tiny.model, tiny.processor, transition, 8,
                     Knockouts(SETS["open-ended"], 12, 3, way, Style.EVERY), "all", WORDS)
        for way in (False, True)
    ]  # fmt: skip
    for fast, plain in zip(*(record["cases"] for record in records), strict=True):
        for name, measures in fast["knockouts"].items():
            for measure, values in measures.items():
                assert values == pytest.approx(plain["knockouts"][name][measure], abs=1e-4)


def test_a_reply_without_anchors_has_no_cases(tiny: LoadedModel, transition: Sample) -> None:
    nothing = OwnReply(matches("zebra"), {"anchor": "zebra"}, max_tokens=4)
    record = trace_sample(
        tiny.model, tiny.processor, transition, 8,
        Knockouts(SETS["cross-frame"], 12, 3), "all", nothing,
    )  # fmt: skip
    assert record["cases"] == []


@torch.no_grad()
def test_a_prefix_stands_before_the_first_true_token(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    sample = next(s for s in samples if s.task == "action_sequence")
    (case,) = Prefix("").cases(tiny.model, tiny.processor, sample, 8)
    words = [tiny.processor.tokenizer.decode([token]).strip() for token in case.options]
    assert words == [option.split()[0] for option in sample.options]
    (longer,) = Prefix(" the cross").cases(tiny.model, tiny.processor, sample, 8)
    role = longer.replay.segments.role[0].tolist()
    added = len(role) - case.replay.segments.shape[1]
    assert added == 2 and role[-1] == Role.LAST and role.count(Role.ANSWER) == 1
    assert longer.options == case.options

    text = open_prompt(tiny.processor, sample).text + " the cross"
    clip, metadata = decode(sample, 8)
    inputs = tiny.processor(text=[text], videos=[[clip]], video_metadata=[[metadata]])
    p = tiny.model(**inputs).logits[0, -1].softmax(-1)
    knockouts = Knockouts([find_pathway("video->last")], 12, 3)
    record = trace_sample(
        tiny.model, tiny.processor, sample, 8, knockouts, "all", Prefix(" the cross")
    )["cases"][0]
    assert record["p_true"] == pytest.approx(float(p[case.options[sample.answer]]), rel=1e-3)
    assert record["true"] == sample.answer and "anchor" not in record


def test_options_that_begin_alike_are_refused(tiny: LoadedModel, transition: Sample) -> None:
    with pytest.raises(BadInputError, match="begin with the same token"):
        Prefix("").cases(tiny.model, tiny.processor, transition, 8)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real spaCy pipeline: a few verbs by their form, everything else X."""
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("attribute_ruler")
    ruler.add([[{}]], {"POS": "X"})  # type: ignore[attr-defined]
    ruler.add([[{"LOWER": {"IN": ["moves", "jumps"]}}]], {"POS": "VERB"})  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("spacy")
    nlp.to_disk(folder)
    return folder


def test_verbs_are_the_pipelines(pipeline: Path) -> None:
    text = "The cat moves, then jumps."
    assert [text[a:b] for a, b in verbs(str(pipeline))(text)] == ["moves", "jumps"]
    assert verbs(str(pipeline))("") == []


def test_pipelines_that_find_no_verbs_are_refused(tmp_path: Path) -> None:
    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(BadInputError, match="no parts of speech"):
        verbs(str(tmp_path))("It moves.")
    with pytest.raises(BadInputError, match="no such spaCy pipeline"):
        verbs("en_core_web_none")


def test_regular_expressions() -> None:
    assert matches("mov|x*")("it moves") == [(3, 6)]
    with pytest.raises(UsageError, match="not a regular expression"):
        matches("(")


def test_one_way_to_ask_at_a_time(pipeline: Path) -> None:
    assert ask(None, None, None) == Choice()
    assert ask("It", None, None) == Prefix("It")
    assert ask(None, "x", None).identity["anchor"] == "x"
    assert ask(None, None, str(pipeline)).identity["verbs"] == str(pipeline)
    with pytest.raises(UsageError, match="one of them"):
        ask("It", "x", None)
