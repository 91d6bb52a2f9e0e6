"""Prompts in a user's own words: their spans, what is refused, and the same words everywhere."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.checkpoint.load import LoadedModel
from prune.inputs.encode import choice_prompt, read
from prune.inputs.prompts import INSTRUCTION, Wording, choice_question
from prune.inputs.samples import load_samples
from prune.inputs.templates import check_template, templated_question
from prune.layout.role import Role
from prune.layout.segments import segment

Run = Callable[..., tuple[int, str, str]]
OWN = "Watch. {question} Choose:\n{options:A.}\nAnswer with the letter."


def test_the_default_is_a_template() -> None:
    asked = ("Which way?", ["left", "right", "up"])
    template = "Question: {question}\nOptions:\n{options}\n" + INSTRUCTION
    assert templated_question(template, *asked) == choice_question(*asked)


def test_spans_of_a_template() -> None:
    made = templated_question(OWN, "Which way?", ["left", "right"])
    assert made.text == "Watch. Which way? Choose:\nA. left\nB. right\nAnswer with the letter."
    assert [made.text[a:b] for a, b in made.options] == ["A. left\n", "B. right"]
    assert made.text[slice(*made.stem)] == "Which way?"
    assert made.text[slice(*made.question)] == "Watch. Which way? Choose:\n"
    assert [made.text[a:b] for a, b in made.ends] == ["\n", "\n"]
    # What a data set holds is no template.
    odd = templated_question(OWN, "{options}?", ["{question}", "A"])
    assert odd.text[slice(*odd.stem)] == "{options}?" and "A. {question}\n" in odd.text


@pytest.mark.parametrize(
    "template",
    ["{question}", "{options} {question}", "{question}{question}{options}", "",
     "{question}{options:}",     "{question} {options:1.}", "{question:A}{options}"],
)  # fmt: skip
def test_what_is_no_template(template: str) -> None:
    with pytest.raises(ValueError, match="prompt"):
        check_template(template)


def test_a_model_reads_the_template_and_its_roles_are_known(tiny: LoadedModel, clips: Path) -> None:
    (sample, *_) = load_samples(clips / "test.jsonl", wording=Wording(prompt=OWN))
    prompt = choice_prompt(tiny.processor, sample)
    assert "Watch. " + sample.question in prompt.text and f"A. {sample.options[0]}" in prompt.text
    layout = segment(tiny.processor, read(tiny.processor, [sample], 8))
    roles = {Role(role) for role in layout.role[0].tolist()}
    assert {Role.VIDEO, Role.QUESTION, Role.OPTIONS, Role.TAIL, Role.LAST} <= roles
    assert set(layout.option[0].tolist()) == {-1, *range(len(sample.options))}
    assert sample.wording.given == {"prompt": OWN} and Wording.of({"prompt": OWN}).prompt == OWN


def test_trace_shows_the_prompt_and_refuses_no_template(
    prune_command: Run, clips: Path, tmp_path: Path
) -> None:
    data = ("--data", clips / "test.jsonl", "--out", tmp_path / "run")
    code, text, _ = prune_command("trace", "tiny", *data, "--prompt", OWN, "--show-prompt")
    assert (
        code == 0 and "Watch." in text and "options 1" in text and "Answer with the letter" in text
    )
    assert not (tmp_path / "run").exists()
    code, _, err = prune_command("trace", "tiny", *data, "--prompt", "Which way?")
    assert code == 2 and "give a template with {question}, then {options}" in err


def test_a_trace_is_of_its_template(prune_command: Run, clips: Path, tmp_path: Path) -> None:
    asked = ("trace", "tiny", "--data", clips / "test.jsonl", "--out", tmp_path, "--samples", "all")
    few = ("--limit", "1", "--pathway", "video->last")
    assert prune_command(*asked, *few, "--prompt", OWN)[0] == 0
    assert json.loads((tmp_path / "trace" / "header.json").read_text())["prompt"] == OWN
    code, _, err = prune_command(*asked, *few)
    assert code == 4 and "prompt" in err
