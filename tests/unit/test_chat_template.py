"""Chat templates come with the model: what they write is used, and none hangs or fills memory."""

import shutil
import threading
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from prune.checkpoint.load import TINY, LoadedModel, open_processor
from prune.errors import BadInputError, RefusedError
from prune.inputs import chat_template
from prune.inputs.chat_format import chat_format
from prune.inputs.chat_template import write_chat
from prune.inputs.encode import chat

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "Which colour?"}]}]
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def written_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A processor with another template."""
    monkeypatch.setattr(chat_template, "SECONDS", 1)

    def make(template: str) -> Any:
        processor = open_processor(TINY)
        processor.tokenizer.chat_template = template
        return processor

    return make


def test_what_a_template_writes_is_used(tiny: LoadedModel) -> None:
    text = chat(tiny.processor, "Which colour?")
    assert text.startswith("Watch the video carefully. USER: <video>") and "Which colour?" in text


@pytest.mark.parametrize(
    ("template", "limit"),
    [
        (LOOP, "1 s"),
        (
            "{% macro a(n) %}{% if n %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}"
            "{{ a(60) }}",
            "1 s",
        ),
        ("{{ 9 ** (9 ** 9) }}", "1 s"),
        ("{{ 'a' * 9999999999 }}", "2048 MiB"),
        (
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
            "{% endfor %}{{ n.x }}",
            "(1 s|2048 MiB)",
        ),
    ],
    ids=["loops", "macros", "power", "text", "doubling"],
)
def test_a_template_without_end_is_refused(
    written_by: Callable[[str], Any], template: str, limit: str
) -> None:
    processor = written_by(template)
    began = time.monotonic()
    with pytest.raises(RefusedError, match=f"takes more than {limit} for a prompt"):
        write_chat(processor, MESSAGES)
    with pytest.raises(RefusedError):
        chat_format(processor)
    assert time.monotonic() - began < 60
    # The next one is written by a new process.
    assert write_chat(written_by("{{ messages[0].role }}"), MESSAGES) == "user"


def test_a_template_that_loops_over_some_questions_alone_is_refused_at_those(
    written_by: Callable[[str], Any],
) -> None:
    processor = written_by("{% if 'colour' in messages|string %}" + LOOP + "{% endif %}fine")
    assert write_chat(processor, [{"role": "user", "content": "?"}]) == "fine"
    with pytest.raises(RefusedError, match="takes more than"):
        write_chat(processor, MESSAGES)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('only text') }}", "only text"),
        ("{% if %}", "Expected an expression"),
        ("{{ messages[9].role }}", "has no element 9"),
    ],
)
def test_a_template_that_fails_says_why(
    written_by: Callable[[str], Any], template: str, said: str
) -> None:
    with pytest.raises(BadInputError, match=f"cannot write this: .*{said}"):
        write_chat(written_by(template), MESSAGES)
    assert chat_format(written_by(template)) is None


@pytest.mark.parametrize(
    "template",
    [
        "{%- generation -%}{{ messages[0].role }}{%- endgeneration -%}",
        "{% for m in messages %}{% break %}{% endfor %}user",
        "{{ strftime_now('%Y')[:0] }}{{ messages[0].role }}{{ eos_token[:0] }}",
        "{{ (messages|tojson)[:0] }}{{ messages[0]['role'] }}",
    ],
)
def test_what_transformers_adds_to_jinja_is_known(
    written_by: Callable[[str], Any], template: str
) -> None:
    assert write_chat(written_by(template), MESSAGES) == "user"


def test_threads_take_turns(written_by: Callable[[str], Any]) -> None:
    processor = written_by("{{ messages[0].content }}")
    found: dict[int, str] = {}

    def write(number: int) -> None:
        message = {"role": "user", "content": str(number)}
        found[number] = write_chat(copy(processor), [message])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: str(n) for n in range(8)}


def test_a_command_ends_with_one_line(
    prune_command: Callable[..., tuple[int, str, str]],
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 1)
    model = Path(shutil.copytree(TINY, tmp_path / "model"))
    (model / "chat_template.jinja").write_text(LOOP)
    code, _, error = prune_command("eval", model, "--data", clips / "test.jsonl")
    assert code == RefusedError.exit_code and "takes more than 1 s for a prompt" in error
