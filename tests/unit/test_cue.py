"""The cue and the chat template: how a sample is asked is part of a run's identity."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, RefusedError
from prune.inputs.encode import choice_prompt, letter_ids
from prune.inputs.samples import Sample, load_samples
from prune.journal.records import template_sha256
from prune.trace.trace import Trace
from prune.workflows.split import split_samples

CUE = " The best option is ("


def test_the_cue_ends_the_prompt(tiny: LoadedModel, samples: list[Sample]) -> None:
    other = replace(samples[0], cue=CUE)
    assert choice_prompt(tiny.processor, other).text.endswith(CUE)
    encode = tiny.processor.tokenizer.encode
    for letter, token in zip(other.letters, letter_ids(tiny.processor, other), strict=True):
        text = choice_prompt(tiny.processor, other).text
        assert encode(text + letter) == [*encode(text), token]


def test_another_cue_or_template_does_not_resume(
    clips: Path, tmp_path: Path, prune_command: Any
) -> None:
    run = tmp_path / "run"
    data = ("tiny", "--data", clips / "calibration.jsonl", "--out", run, "--limit", 2)
    data = (*data, "--samples", "all")
    assert prune_command("trace", *data, "--cue", CUE, "--pathway", "video->last")[0] == 0
    trace = Trace.load(run)
    assert trace.header["cue"] == CUE and len(trace.header["chat_template"]) == 64
    code, _, error = prune_command("trace", *data, "--pathway", "video->last")
    assert code == RefusedError.exit_code and "cue" in error and "differ" in error
    searched, held_out = split_samples(trace, None)
    assert {s.cue for s in [*searched, *held_out]} == {CUE}

    header = run / "trace" / "header.json"
    changed = json.loads(header.read_text()) | {"chat_template": "0" * 64}
    header.write_text(json.dumps(changed))
    code, _, error = prune_command("trace", *data, "--cue", CUE, "--pathway", "video->last")
    assert code == RefusedError.exit_code and "chat_template" in error


def test_samples_are_loaded_with_the_cue(clips: Path) -> None:
    assert {s.cue for s in load_samples(clips / "test.jsonl", CUE)} == {CUE}


def test_the_order_of_several_templates_means_nothing(tiny: LoadedModel) -> None:
    def of(template: object) -> str:
        return template_sha256(SimpleNamespace(chat_template=template, tokenizer=None))

    assert of({"default": "a", "tool_use": "b"}) == of({"tool_use": "b", "default": "a"})
    assert len({of({"default": "a"}), of({"default": "b"}), of("a")}) == 3


@pytest.mark.parametrize("command", ["plan", "transfer", "flow"])
def test_a_trace_from_before_the_cue_says_trace_again(
    clips: Path, tmp_path: Path, prune_command: Any, command: str
) -> None:
    run = tmp_path / "run"
    data = ("--data", clips / "calibration.jsonl", "--limit", 2, "--samples", "all")
    assert prune_command("trace", "tiny", *data, "--pathway", "video->last", "--out", run)[0] == 0
    path = run / "trace" / "header.json"
    header = json.loads(path.read_text())
    del header["cue"], header["chat_template"]
    path.write_text(json.dumps(header | {"schema_version": 3}))
    out = ("--out", tmp_path / "flow.png") if command == "flow" else ()
    code, _, error = prune_command(command, run, *out)
    assert code == BadInputError.exit_code and error.count("\n") == 1
    assert "a trace of schema 3" in error and "trace again" in error
