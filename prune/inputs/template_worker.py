"""The process that tries chat templates: it renders the templates of others under limits.

A request is a line of JSON, `{"template": ..., "variables": {...}, "seconds": ...}`. The answer is
a line: `D` when the template came to an end, with an error of its own or without one, and `M` when
it took too much memory. One that takes too many seconds ends the process.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Environment, Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 2**31
"""Bytes of address space; a prompt and its template take some kilobytes."""


class _Generation(Extension):
    """The tag by which chat templates mark what the model says: its content counts."""

    def __init__(self, environment: Environment):
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """See `jinja2.ext.Extension`."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


@lru_cache(maxsize=8)
def _compiled(text: str) -> Template:
    """A template as transformers compiles it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, indent=indent)
    functions: dict[str, Callable[[str], Any]] = {
        "raise_exception": _refuse,
        "strftime_now": lambda form: datetime.now().strftime(form),
    }
    environment.globals.update(functions)
    return environment.from_string(text)


def main() -> None:
    """Answer requests until standard input ends."""
    # Nothing that a library prints must reach the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    # Ctrl-C reaches the whole group of processes; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _bound_memory()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        # Not handled: its default ends the process, whatever it is in the middle of.
        signal.alarm(request["seconds"])
        try:
            _compiled(request["template"]).render(**request["variables"])
            answer = b"D\n"
        except MemoryError:
            answer = b"M\n"
        except Exception:  # the processor, which runs the template next, says which
            answer = b"D\n"
        signal.alarm(0)
        answers.write(answer)


def _bound_memory() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
