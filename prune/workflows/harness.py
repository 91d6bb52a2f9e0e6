"""The workflow of `prune eval` without a data set: lm-eval's command line with prune's model."""

import json
import sys
from collections.abc import Sequence

from prune.errors import UsageError, install_extra
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE
from prune.plan.model_id import Positions
from prune.workflows.asked import read_as


def run_harness(
    model: str,
    tasks: str,
    num_frames: int | None = None,
    limit: int | None = None,
    cue: str = ANSWER_CUE,
    media: Media = DEFAULT_MEDIA,
    flags: Sequence[str] = (),
    positions: Positions | None = None,
) -> None:
    """Run tasks of lm-eval on a model; lm-eval prints the results itself.

    Args:
        model: folder, hub id or embedded model; an exported folder answers under its plan.
        tasks: names of tasks, with commas between them.
        num_frames: frames of every clip; as an export was read if None.
        limit: only the first N questions of each task.
        cue: what prompts end with, after which the next token is a letter.
        media: how clips are read of which the data says nothing; as an export's were, where
            nothing is said. So is the precision.
        flags: more of lm-eval's own flags.
        positions: whose rule gives text its positions; as the plan was measured if None.

    Raises:
        UsageError: lm-eval is not installed.
    """
    try:
        from lm_eval.__main__ import cli_evaluate
    except ImportError:
        raise UsageError(f"--tasks without --data needs lm-eval: {install_extra('eval')}") from None
    from prune.harness import TASKS

    read = read_as((model,), num_frames, media)
    sys.argv = ["lm-eval", "run", "--model", "prune", "--tasks", tasks]
    sys.argv += ["--include_path", str(TASKS), "--device", "auto"]
    sys.argv += ["--model_args", f"pretrained={model}", f"num_frames={read.num_frames}"]
    sys.argv += [] if read.dtype == "auto" else [f"dtype={read.dtype}"]
    sys.argv += [] if positions is None else [f"positions={positions}"]
    # A later --metadata of the user's is merged with this one.
    sys.argv += ["--metadata", json.dumps({"cue": cue, "media": read.media.given})]
    sys.argv += [] if limit is None else ["--limit", str(limit)]
    sys.argv += flags
    cli_evaluate()
