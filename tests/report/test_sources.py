"""What the report says of where its numbers come from: the day, the data files, the wording."""

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from prune.inputs.media import Media
from prune.inputs.prompts import Wording
from prune.inputs.samples import Sample
from prune.plan.plan import Plan
from prune.report.page import html
from prune.results.export_result import Result
from prune.workflows.export import _asked, _sources


def test_data_files_are_named_with_their_hash(tmp_path: Path, result: Result, plan: Plan) -> None:
    test = tmp_path / "test.jsonl"
    test.write_text("{}\n")
    found = _sources({"calibration data": None, "test data": test})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.pop("date"))
    assert found == {"test data": f"test.jsonl, SHA-256 {sha256(b'{}' + bytes([10])).hexdigest()}"}
    page = html(replace(result, conditions={**result.conditions, **found}), plan)
    assert found["test data"] in page and str(tmp_path) not in page


def test_how_samples_were_asked_is_said_where_it_is_not_the_default(samples: list[Sample]) -> None:
    (sample, *_) = samples
    assert _asked(sample, 8) == {"frames": "8"}
    own = replace(
        sample,
        cue="",
        wording=Wording("Be brief.", prompt="{question} {options}"),
        media=Media(fps=2.0, max_pixels=100),
    )
    assert _asked(own, 8) == {
        "cue": "", "system": "Be brief.", "prompt": "{question} {options}", "fps": "2.0",
        "max pixels": "100", "frames": "8",
    }  # fmt: skip


def test_the_share_of_changed_answers_is_always_said(result: Result, plan: Plan) -> None:
    assert result.accuracy is not None
    none = replace(result, accuracy=replace(result.accuracy, flipped=()), asked=())
    assert f"answer 0 of {result.accuracy.overall.n} questions differently (0.0%)" in html(
        none, plan
    )
