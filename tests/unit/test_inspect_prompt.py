"""`prune inspect MODEL --prompt FILE`: a prompt by role, whatever its text contains."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from prune.checkpoint.load import TINY, LoadedModel
from prune.cli.tables.prompt import legend_table, prompt_table
from prune.inputs.encode import read
from prune.inputs.samples import Sample, load_samples
from prune.layout.segments import Role, UnknownRolesWarning, segment
from prune.workflows.prompt import RolesOfPrompt, roles_of_prompt

Command = Callable[..., tuple[int, str, str]]

HOSTILE = "Which [bold red]way[/] \x1b[31m[/nope] \x1b]8;;http://x\x07 (A) \u202egnirts [link=a]b?"


def _drawn(prompt: RolesOfPrompt) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=400)
    console.print(prompt_table(prompt))
    console.print(legend_table(prompt))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def hostile(clips: Path) -> Path:
    path = clips / "hostile.jsonl"
    first = json.loads((clips / "test.jsonl").read_text().splitlines()[0])
    lines = [first, first | {"id": "bad", "question": HOSTILE, "options": ["[i]", "\x1b[2J"]}]
    lines[1]["answer"] = 0
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_tokens_are_those_of_the_roles(tiny: LoadedModel, clips: Path) -> None:
    data = clips / "test.jsonl"
    for sample in load_samples(data)[::6]:
        found = roles_of_prompt("tiny", data, sample.id, num_frames=4)
        layout = segment(tiny.processor, read(tiny.processor, [sample], 4))
        assert {r: found.tokens(r) for r in Role} == {r: layout.count(r) for r in Role}
        assert found.known and not found.dense and found.name == sample.id
        words = {r: "".join(p.text for p in found.parts if p.role == r) for r in Role}
        assert sample.question in words[Role.QUESTION]
        assert [p.option for p in found.parts if p.option >= 0] == list(range(len(sample.options)))
        assert [p.frame for p in found.parts if p.role == Role.VIDEO] == [0, 1, 2, 3]


def test_text_is_inert(hostile: Path, prune_command: Command) -> None:
    drawn = _drawn(roles_of_prompt("tiny", hostile, "bad"))
    assert "Which [bold red]way[/] \\x1b[31m[/nope] \\x1b]8;;http://x\\x07 (A)" in drawn
    assert "\\u202egnirts [link=a]b?" in drawn and "[i]" in drawn and "\\x1b[2J" in drawn
    # What is left are the colours of the roles.
    assert not {"\x07", "\u202e"} & set(drawn) and "\x1b]" not in drawn and "\x1b[2J" not in drawn
    assert "\x1b[32m" in drawn
    code, out, err = prune_command("inspect", "tiny", "--prompt", hostile, "--sample", "bad")
    assert code == 0 and not err and "\x1b" not in out and "[bold red]" in out


def test_the_first_sample_and_a_legend(hostile: Path, prune_command: Command) -> None:
    code, out, _ = prune_command("inspect", "tiny", "--prompt", hostile, "--frames", 2)
    assert code == 0 and "the token that predicts the answer" in out and "video 2" in out
    code, _, err = prune_command("inspect", "tiny", "--prompt", hostile, "--sample", "none")
    assert code == 2 and "no sample none" in err
    code, _, err = prune_command("inspect", "tiny", "--sample", "bad")
    assert code == 2 and "--prompt" in err


def _chat(path: Path, *turns: tuple[str, object]) -> Path:
    path.write_text(json.dumps([{"role": role, "content": said} for role, said in turns]))
    return path


def test_a_conversation(clips: Path, samples: list[Sample]) -> None:
    video = {"type": "video", "video": str(samples[0].video.relative_to(clips))}
    ask = {"type": "text", "text": "Which way?"}
    found = roles_of_prompt("tiny", _chat(clips / "chat.json", ("user", [video, ask])))
    assert "Which way?" in next(p.text for p in found.parts if p.role == Role.QUESTION)
    assert found.tokens(Role.VIDEO) and not found.dense
    plain = roles_of_prompt("tiny", _chat(clips / "plain.json", ("user", "Which way?")))
    assert plain.known and plain.dense == "it shows no video"


def test_roles_that_cannot_be_known(
    clips: Path, samples: list[Sample], tmp_path: Path, prune_command: Command
) -> None:
    model = tmp_path / "model"
    shutil.copytree(TINY, model)
    (model / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('alone') }}"
        "{% endif %}Q> {% for p in m.content %}{{ '<video>' if p.type == 'video' else p.text }}"
        "{% endfor %} A> {% endfor %}"
    )
    video = {"type": "video", "video": str(samples[0].video.relative_to(clips))}
    path = _chat(clips / "odd.json", ("user", [video, {"type": "text", "text": "Which way?"}]))
    with pytest.warns(UnknownRolesWarning):
        found = roles_of_prompt(model, path)
    assert not found.known and "Which way?" in found.parts[0].text
    code, out, err = prune_command("inspect", model, "--prompt", path)
    assert code == 0 and "leaves this prompt dense: its roles cannot be known" in out
    assert "warning" in err and "unknown" in out
    # A prompt that prune writes keeps its roles in the same template.
    assert roles_of_prompt(model, clips / "test.jsonl").known


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "not a conversation"),
        ('[{"role": "user", "content": [{"type": "audio"}]}]', "not a conversation"),
        ('[{"role": "user", "content": [{"type": "video", "video": "../a.mp4"}]}]', "below"),
        ('[{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}]', "no such video"),
        ('[{"role": "tool", "content": "x"}]', "role"),
    ],
)
def test_a_file_that_is_no_conversation(
    tmp_path: Path, prune_command: Command, content: str, said: str
) -> None:
    path = tmp_path / "chat.json"
    path.write_text(content)
    code, _, err = prune_command("inspect", "tiny", "--prompt", path)
    assert code in (3, 4) and said in err and err.count("\n") == 1
