"""The workflow of `prune eval`: answers of a model or an export to a data set."""

from collections.abc import Sequence

from prune.checkpoint.load import open_model
from prune.errors import BadInputError
from prune.evaluate.answers import BATCH, answer, prepare, under
from prune.inputs.samples import Sample
from prune.layout.pathways import dense_reach
from prune.plan.plan import PLAN_FILE, Plan
from prune.results.answer import Answer
from prune.workflows.plan import Progress


def evaluate_model(
    name: str, samples: Sequence[Sample], num_frames: int, progress: Progress
) -> tuple[list[Answer], dict[str, str]]:
    """Answers to samples, under the model's plan if it has one; and the samples that failed."""
    opened = open_model(name, dense=True)
    reach = dense_reach(opened.id.num_layers)
    if (opened.folder / PLAN_FILE).is_file():
        plan = Plan.load(opened.folder / PLAN_FILE)
        plan.check_model(opened.id)
        reach = plan.reach
    with progress("Reading clips", len(samples)) as advance:
        batches, failed = prepare(
            opened.model, opened.processor, samples, num_frames, BATCH, advance
        )
    if not batches:
        raise BadInputError(f"no sample could be used: {next(iter(failed.values()))}")
    with progress("Answering", len(samples)) as advance:
        answers = answer(opened.model, opened.processor, batches, under(reach), advance)
    return answers, failed
