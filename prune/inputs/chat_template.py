"""Chats in a processor's own chat template, which comes with the model and may be hostile.

Jinja's sandbox keeps a template from running code, and does not keep it from looping for ever or
from filling the memory. So a process with limits (`prune.inputs.template_worker`) renders each chat
first.
"""

import atexit
import json
import os
import subprocess
import sys
from contextlib import suppress
from threading import Lock
from typing import Any

from prune.errors import BadInputError, PruneError, RefusedError
from prune.inputs.template_worker import MEMORY

SECONDS = 10
"""A prompt takes milliseconds."""

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from prune.inputs.template_worker import main; main()"
)


def write_chat(processor: Any, messages: list[dict[str, Any]]) -> str:
    """The text of a conversation in which the model speaks next.

    Args:
        processor: the model's.
        messages: as chat templates read them, `{"role", "content"}`.

    Raises:
        BadInputError: the template fails.
        RefusedError: it takes more time or memory than any prompt needs.
    """
    _try(processor, messages)
    try:
        text: str = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
    except (MemoryError, PruneError):
        raise
    except Exception as error:  # templates fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInputError(
            f"the chat template of {type(processor).__name__} cannot write this: {reason}"
        ) from None
    return text


def template_of(processor: Any) -> str | None:
    """The template that a processor uses where none is named; None without one."""
    found = getattr(processor, "chat_template", None) or getattr(
        processor.tokenizer, "chat_template", None
    )
    return found.get("default") if isinstance(found, dict) else found


def _try(processor: Any, messages: list[dict[str, Any]]) -> None:
    template = template_of(processor)
    if template is None:
        return
    variables = {
        **{name: str(token) for name, token in _special_tokens(processor).items()},
        "messages": messages,
        "add_generation_prompt": True,
    }
    asked = {"template": template, "variables": variables, "seconds": SECONDS}
    request = json.dumps(asked).encode()
    with _lock:
        answer = _process().ask(request)
        if answer != b"D\n":
            _forget()
    if answer != b"D\n":
        limit = f"{MEMORY >> 20} MiB" if answer == b"M\n" else f"{SECONDS} s"
        raise RefusedError(
            f"the chat template of {type(processor).__name__} takes more than {limit} for a "
            "prompt: get the model again from its source"
        )


def _special_tokens(processor: Any) -> dict[str, Any]:
    return getattr(processor.tokenizer, "special_tokens_map", {})


class _Process:
    """The process as its parent sees it, for one request at a time."""

    def __init__(self) -> None:
        paths = json.dumps([os.path.abspath(path) for path in sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.owner = os.getpid()

    def ask(self, request: bytes) -> bytes:
        """The answer to a request; empty if the process ended over it."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(request + b"\n")
            self._process.stdin.flush()
            return self._process.stdout.readline()
        except BrokenPipeError:
            return b""
        except BaseException:
            # The answer to come would be taken for that of the next request.
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it is this process's own, not that of one that forked it, and runs."""
        return self.owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                assert pipe
                pipe.close()
        self._process.wait()


_lock = Lock()
_running: list[_Process] = []


def _process() -> _Process:
    if not _running or not _running[0].is_alive:
        _running[:] = [_Process()]
    return _running[0]


def _forget() -> None:
    _running.pop().close()


@atexit.register
def _close() -> None:
    for process in _running:
        if process.owner == os.getpid():
            process.close()
