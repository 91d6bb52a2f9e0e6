"""The cue and the chat template: how a sample is asked is part of a run's identity."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from prune.checkpoint.load import LoadedModel
from prune.errors import RefusedError
from prune.inputs.encode import choice_prompt, letter_ids
from prune.inputs.samples import Sample, load_samples
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
