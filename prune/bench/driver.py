"""`vllm bench serve`, run in this process: the clients of a load, and what they waited for."""

import asyncio
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from prune.bench.chats import Message
from prune.bench.endpoint import KV, RUNNING, WAITING, Endpoint, watched
from prune.errors import ResourceError, UsageError, install_extra
from prune.results.load import Level, LoadRow

NO_ROOM = {HTTPStatus.TOO_MANY_REQUESTS.phrase, HTTPStatus.SERVICE_UNAVAILABLE.phrase}
"""What the driver notes of a request that a server refused because it has no room."""


class OutOfTimeError(Exception):
    """A run did not end in the seconds it had."""


def check_driver() -> None:
    """Raise `UsageError` if the driver is not installed."""
    # Its data sets need pandas, which vLLM does not bring.
    missing = [name for name in ("vllm", "pandas") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--endpoint: vllm bench serve sends the requests, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed: run this command where vLLM "
            f"is, or {install_extra('vllm')} pandas"
        )


def drive(
    endpoint: Endpoint,
    name: str,
    asked: Sequence[Sequence[Message]],
    level: Level,
    run: int = 0,
    *,
    tokens: int,
    seconds: float,
) -> LoadRow:
    """Send requests to a server and measure how it answers.

    Args:
        endpoint: the server.
        name: of the server in the row.
        asked: the messages of each request.
        level: how many at once, or how fast.
        run: number of the run in the row.
        tokens: of every answer.
        seconds: after which the run is given up.

    Raises:
        OutOfTimeError: it was.
        ResourceError: the driver cannot ask this server.
    """
    with tempfile.TemporaryDirectory() as folder, watched(endpoint) as seen:
        path = Path(folder, "requests.jsonl")
        path.write_text("".join(json.dumps({"prompt": chat}) + "\n" for chat in asked))
        found = _run(_arguments(endpoint, path, len(asked), level, tokens), seconds)
    share = seen.most.get(KV)
    about = {
        "running": seen.whole(RUNNING),
        "waiting": seen.whole(WAITING),
        "kv_share": None if share is None else float(share),
        "preempted": seen.preempted,
    }
    return row_of(found, name, level, run, len(asked), about)


def _arguments(endpoint: Endpoint, path: Path, count: int, level: Level, tokens: int) -> list[str]:
    answer = {"max_completion_tokens": tokens, "ignore_eos": True, "temperature": 0}
    pace = ["--max-concurrency", str(int(level.value))]
    if level.loop == "open":
        pace = ["--request-rate", str(level.value)]
    return [
        *("--base-url", endpoint.url, "--endpoint", "/v1/chat/completions"),
        *("--backend", "openai-chat", "--ready-check-timeout-sec", "0"),
        *("--dataset-name", "custom", "--dataset-path", str(path), "--disable-shuffle"),
        # Messages go to the server as they are, the video before the question.
        *("--skip-chat-template", "--skip-tokenizer-init"),
        *("--num-prompts", str(count), *pace),
        *("--extra-body", json.dumps(answer), "--disable-tqdm"),
        *("--save-result", "--save-detailed"),
        *("--result-dir", str(path.parent), "--result-filename", "result.json"),
    ]


def _run(arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from vllm.benchmarks import serve
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    serve.add_cli_args(parser)
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            work = serve.main_async(parser.parse_args(list(arguments)))
            found: dict[str, Any] = asyncio.run(asyncio.wait_for(work, seconds))
    except TimeoutError:
        raise OutOfTimeError from None
    except (ValueError, OSError) as error:
        last = said.getvalue().strip().splitlines()[-1:]
        raise ResourceError(f"vllm bench serve: {error} {' '.join(last)}".strip()) from None
    return found


def row_of(
    found: Mapping[str, Any],
    name: str,
    level: Level,
    run: int,
    requests: int,
    about: Mapping[str, Any],
) -> LoadRow:
    """The row of one result of `vllm bench serve`, saved in detail.

    Percentiles are over requests, and those between tokens over all gaps of all requests.
    """
    done = [index for index, length in enumerate(found["output_lens"]) if length]
    rejected = sum(error in NO_ROOM for error in found["errors"])
    first = [found["ttfts"][index] for index in done]
    gaps = [found["itls"][index] for index in done]
    whole = [one + sum(later) for one, later in zip(first, gaps, strict=True)]
    lengths = [found["output_lens"][index] for index in done]
    # An answer that came all at once, as to a late client, says nothing of its tokens.
    known = [(sum(g), length) for g, length in zip(gaps, lengths, strict=True) if sum(g)]
    later = [waited / (length - 1) for waited, length in known if length > 1]
    times = (*_percentiles(first), *_percentiles([g for gap in gaps for g in gap]))
    return LoadRow(
        name,
        level,
        run,
        requests,
        found["completed"],
        rejected,
        requests - found["completed"] - rejected,
        sum(lengths),
        found["request_throughput"],
        found["output_throughput"],
        *times,
        *_percentiles(whole),
        _percentiles(later)[0],
        **about,
    )


def _percentiles(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    """The 50th and 95th, in ms."""
    if not seconds:
        return None, None
    half, most = np.percentile(seconds, [50, 95]) * 1000
    return float(half), float(most)
