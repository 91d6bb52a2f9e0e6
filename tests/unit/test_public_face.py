"""What `import prune` shows, and what it costs."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers.utils import logging

import prune
from prune import errors
from prune.checkpoint.load import EMBEDDED, LoadedModel
from prune.inputs.encode import choice_prompt, encode, open_prompt
from prune.inputs.samples import Sample
from prune.tiny.processor import TinyProcessor

ROOT = Path(__file__).parents[2]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_dir_shows_every_public_name_and_each_is_there() -> None:
    assert set(dir(prune)) == {*prune.__all__, "__version__"}
    assert all(getattr(prune, name) is not None for name in prune.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        prune.nonsense  # noqa: B018


def test_every_error_is_public() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes <= set(prune.__all__)


def test_the_import_is_quick_and_without_torch() -> None:
    code = (
        "import sys, time; before = time.process_time(); import prune;"
        "print(time.process_time() - before, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    spent, *heavy = run(code).split()
    assert heavy == ["False", "False"]
    assert float(spent) < 0.1


def test_python_dash_m_is_the_command() -> None:
    argv = [sys.executable, "-m", "prune", "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == f"prune {prune.__version__}\n"


@pytest.mark.parametrize("options", [None, ["left", "right"]])
def test_ask_is_what_commands_ask(
    tiny: LoadedModel, samples: list[Sample], options: list[str] | None
) -> None:
    clip = prune.load_video(samples[0].video, 8)
    asked = prune.ask(tiny.processor, clip, "Which way does it move?", options)
    sample = Sample("x", samples[0].video, "Which way does it move?", tuple(options or ()), 0, "x")
    write = open_prompt if options is None else choice_prompt
    expected = encode(tiny.processor, [sample], [clip], write)
    assert set(asked) == set(expected)
    assert all((asked[key] == expected[key]).all() for key in expected)
    reply = tiny.model.generate(**asked, max_new_tokens=1, do_sample=False)
    assert reply.shape[1] == asked["input_ids"].shape[1] + 1


def test_ask_hands_over_the_times_of_frames(tiny: LoadedModel) -> None:
    class Recorder(TinyProcessor):
        """Keeps the metadata that it is handed."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.metadata = kwargs["video_metadata"]
            return super().__call__(*args, **kwargs)

    own = tiny.processor
    recorder = Recorder(own.tokenizer, own.image_size, own.tokens_per_frame)
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    metadata = {"fps": 2.0, "total_num_frames": 40, "frames_indices": [0, 10, 20, 30]}
    prune.ask(recorder, (frames, metadata), "What?")
    assert recorder.metadata == [[metadata]]
    prune.ask(recorder, frames, "What?")
    assert recorder.metadata == [[{"total_num_frames": 4, "frames_indices": [0, 1, 2, 3]}]]


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 8, 3), None, r"shape \[8, 8, 3\]"),
        ((0, 8, 8, 3), None, r"shape \[0, 8, 8, 3\]"),
        ((1, 3, 8, 8), None, r"shape \[1, 3, 8, 8\]"),
        ((1, 8, 8, 3), ["left"], "1 options"),
        ((1, 8, 8, 3), ["left"] * 27, "27 options"),
    ],
)
def test_ask_refuses_what_cannot_be_asked(
    shape: tuple[int, ...], options: list[str] | None, message: str
) -> None:
    with pytest.raises(prune.BadInputError, match=message):
        prune.ask(None, np.zeros(shape, np.uint8), "What?", options)


def test_load_leaves_logging_and_progress_bars_alone(tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(EMBEDDED["tiny"], half)
    tensors = load_file(half / "model.safetensors")
    tensors.popitem()
    save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity_info()
        logging.enable_progress_bar()
        prune.load("tiny")
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
        # It fails after transformers has loaded what there is.
        with pytest.raises(prune.BadInputError, match="its weights lack 1 tensors"):
            prune.load(half)
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        prune.load("tiny")
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def test_the_readme_example_is_short_and_imports_prune_alone() -> None:
    readme = (ROOT / "README.md").read_text()
    lines = readme.split("```python\n")[1].split("```")[0].splitlines()
    assert len(lines) <= 8
    assert [line for line in lines if "import" in line] == ["import prune"]
