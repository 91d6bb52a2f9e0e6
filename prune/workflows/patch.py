"""The workflow of `prune patch`: from names and options to patched runs and their figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.checkpoint.load import open_model
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, Wording
from prune.inputs.samples import need_options
from prune.journal.processes import processes, share_of
from prune.journal.progress import Progress, silent
from prune.layout.pathway_names import find_roles
from prune.report.figures.flow import write_flow
from prune.results.flow_map import Flow
from prune.trace.patch_choices import Corruption, Site
from prune.trace.patch_run import PatchRun, write_patches
from prune.trace.patch_sample import Patches
from prune.trace.patch_table import flows, table, write_tables
from prune.trace.regions import check_regions
from prune.trace.windows import default_window
from prune.workflows.select import select_samples

SITES = (Site.STATES, Site.ATTENTION, Site.MLP)
ROLES = ("video", "bridge,question", "options", "tail", "last")
"""What is patched if nothing is said; everything behind the first video token."""


@dataclass(frozen=True)
class PatchedRun:
    """Finished patches and what a terminal shows of them.

    Attributes:
        run: the records.
        flows: what was drawn, by the name of its file.
    """

    run: PatchRun
    flows: dict[str, Flow]


def patch_model(
    model: str | Path,
    data: Path,
    run: Path,
    progress: Progress = silent,
    *,
    corruption: Corruption = Corruption.REVERSED,
    restore: bool = False,
    sites: Sequence[Site] | None = None,
    roles: Sequence[str] | None = None,
    window: int | None = None,
    limit: int | None = None,
    per_task: int | None = None,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    num_frames: int = 8,
    cue: str = ANSWER_CUE,
    system: str = "",
    prompt: str = "",
    media: Media = DEFAULT_MEDIA,
    which: str = "correct",
    device: str | None = None,
    dtype: str = "auto",
) -> PatchedRun:
    """Replace activations of a run by those of another, and draw what the answers gain or lose.

    Under `torchrun` the samples are split over its processes; the first one writes
    `patch.{png,svg,csv,json}`, and `patch-heads.{png,svg}` of single heads.

    Args:
        model: folder, hub id or embedded model.
        data: JSONL of multiple-choice questions.
        run: the run folder; patches in it that were stopped resume.
        progress: shows the samples.
        corruption: what the other run sees.
        restore: patch the run of that clip with activations of the sample's own, not the reverse.
        sites, roles: what is replaced, `SITES` and `ROLES` if None; `roles` as in
            `prune.layout.pathway_names.find_roles`.
        window: number of layers patched together; 1 if None, and a quarter of the layers
            (`default_window`) where no site is `states`.
        limit, per_task, tasks, seed: a draw of samples; `seed` also is that of shuffled frames.
        num_frames: frames of every clip.
        cue: what a prompt ends with (`prune.inputs.samples.Sample`).
        system: a system prompt in front of the video; the chat template's own one if empty.
        prompt: a template of the user's words (`prune.inputs.templates`), if not empty.
        media: how clips are read of which the data says nothing.
        which: `correct`, `wrong` or `all`: the answers that are patched.
        device, dtype: as `device_map` and `dtype` of `prune.load`.

    Raises:
        UsageError: a role or task is unknown, or a question has no options.
        BadInputError: no sample could be used, or none is of the requested kind.
        RefusedError: `run` holds other patches.
    """
    sites, roles = sites or SITES, roles or ROLES
    patched = [role for names in roles for role in find_roles(names)]
    samples = select_samples(
        data,
        tasks,
        limit=limit,
        cue=cue,
        per_task=per_task,
        seed=seed,
        media=media,
        wording=Wording(system, prompt=prompt),
    )
    need_options(samples, "prune patch")
    check_regions(patched, samples, data)
    opened = open_model(model, device, dtype, dense=True)
    depth = opened.id.num_layers
    patches = Patches(
        tuple(dict.fromkeys(sites)),
        tuple(dict.fromkeys(roles)),
        corruption,
        restore,
        window or (1 if Site.STATES in sites else default_window(depth)),
        depth,
        opened.model.config.get_text_config().num_attention_heads,
        num_frames,
        which,
        seed,
    )
    with progress("Patching", share_of(len(samples))) as advance:
        found = write_patches(opened, data, run, samples, patches, advance)
    curves = table(found)
    drawn = flows(found, curves)
    if processes().is_main_process:
        write_tables(found, curves, run)
        for name, flow in drawn.items():
            write_flow(run, {opened.id.name: flow}, name)
    return PatchedRun(found, drawn)
