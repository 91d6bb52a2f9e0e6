"""The stage behind `prune trace`: from names and options to a trace on disk."""

from collections.abc import Sequence
from pathlib import Path

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.inputs.samples import load_samples
from prune.journal.processes import processes
from prune.journal.progress import Progress
from prune.layout.pathways import TRACED, Pathway
from prune.report.figures.flow import write_flow
from prune.trace.ask import OwnReply, PromptStyle
from prune.trace.flow import flow_of, paired
from prune.trace.knockout import Knockouts
from prune.trace.sample import CHOICE
from prune.trace.table import write_table
from prune.trace.trace import Trace, write_trace
from prune.trace.windows import Style, default_window


def trace_model(
    opened: LoadedModel,
    data: Path,
    run: Path,
    progress: Progress,
    *,
    limit: int | None = None,
    window: int | None = None,
    num_frames: int = 8,
    which: str = "correct",
    exact_reference: bool = False,
    pathways: Sequence[Pathway] = TRACED,
    style: Style = Style.CENTRE,
    per_head: bool = False,
    asking: PromptStyle = CHOICE,
    tasks: Sequence[str] | None = None,
) -> Trace:
    """Trace the first `limit` samples of a data set into `run`.

    Args:
        opened: the dense model.
        data: JSONL of the samples.
        run: folder of the run; a trace in it that is not finished goes on.
        progress: shows it.
        limit: number of samples, all if None.
        window: layers that are cut together, `default_window` if None.
        num_frames: of every clip.
        which: `correct`, `wrong` or `all` answers are traced; replies of the model's own are
            neither right nor wrong, and always traced.
        exact_reference: each knockout from the start, the slow way.
        pathways: what is cut.
        style: in which layers.
        per_head: one KV head at a time instead of all together.
        asking: how samples are put to the model.
        tasks: only their samples.

    Raises:
        BadInputError: the data has no sample of one of the tasks.
        RefusedError: `run` holds a trace of something else.
    """
    which = "all" if isinstance(asking, OwnReply) else which
    samples = load_samples(data)
    if tasks is not None:
        missing = set(tasks) - {sample.task for sample in samples}
        if missing:
            raise BadInputError(f"{data}: has no question of task {min(missing)!r}")
        samples = [sample for sample in samples if sample.task in tasks]
    samples = samples[:limit]
    layers = opened.id.num_layers
    heads = tuple(range(opened.id.num_kv_heads)) if per_head else (None,)
    width = window or default_window(layers)
    knockouts = Knockouts(pathways, layers, width, exact_reference, style, heads)
    with progress("Tracing", -(-len(samples) // processes().num_processes)) as advance:
        return write_trace(
            opened, data, run, samples, knockouts, num_frames, which, advance, asking
        )


def summarise(trace: Trace) -> None:
    """Write a trace's figures and tables into its run folder.

    They are `flow.png` and `.svg`, `flow.csv` and `.json`, and `pairs.*` if pairs were cut.
    """
    name = trace.model.name
    write_flow(trace.run, {name: flow_of(trace)})
    if paired(trace):
        write_flow(trace.run, {name: flow_of(trace, "interaction")}, "pairs")
    write_table(trace, trace.run)
