"""The page of a reproduction, from its journal: every exhibit with its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prune.errors import BadInputError
from prune.inputs.prompts import INSTRUCTION
from prune.io.files import safe_name
from prune.layout.role import Role
from prune.lens.survey import Survey
from prune.report.reproduction_page import write_reproduction_page
from prune.results.reproduction import Exhibit, Reproduction
from prune.workflows.draw_lens import SURVEY_FIGURES, draw_survey
from prune.workflows.recipe import Recipe
from prune.workflows.reproduce_curves import (
    Records,
    cross_frame,
    options,
    pathways_by_task,
    separator,
    trace_of,
)
from prune.workflows.reproduce_files import write_rows
from prune.workflows.reproduce_tables import EFFECTIVE, HALF, effective_rows, half_rows


def write_reproduction(
    out: Path,
    header: dict[str, Any],
    records: Records,
    portraits: Sequence[str],
    followed: Recipe | None,
    data: Path,
    min_hits: int,
    argv: str,
) -> Reproduction:
    """Draw every exhibit of a finished journal into `out`, and the page that shows them.

    Args:
        out: the folder.
        header, records: of the journal.
        portraits: ids of the samples whose maps were drawn.
        followed: the recipe, if one was followed.
        data: the data set.
        min_hits: words said less often are left out of figure 4.
        argv: the command.

    Raises:
        BadInputError: no sample is answered so that its knockouts were run.
    """
    tuned = trace_of(out, header, records, "tuned", "sweep", data)
    if not tuned.traced:
        raise BadInputError(
            f"{data}: none of {len(records)} samples is {header['which']} under the dense model: "
            "nothing to draw (see --samples)"
        )
    shared = [*_data_differs(header, followed), *_depth_differs(header)]
    exhibits = [
        cross_frame(out, header, records, tuned, data, shared),
        pathways_by_task(out, tuned, shared),
        options(out, tuned, shared),
        separator(out, tuned, shared),
        *_lenses(out, header, records, min_hits, shared),
        *_portraits(out, portraits, header, shared),
        _half(out, header, records, data, shared),
        _effective(out, header, records, followed, shared),
    ]
    counts, model = tuned.counts(), header["model"]
    failed = tuned.failed
    about = (
        f"{model['name']}, {model['num_layers']} layers, {header['dtype']}; "
        f"{counts['samples']} questions of {data.name}, {counts['correct']} answered correctly, "
        f"{counts['traced']} traced ({header['which']} answers), {len(failed)} failed; "
        f"{header['num_frames']} frames, window {header['window']}.",
        f"{_written(header)} {header['cue']!r}; the system prompt is "
        f"{'given' if header.get('system') else 'that of the chat template'}; frames are taken by "
        f"the policy {header.get('sampling', 'uniform')!r}.",
    )
    found = Reproduction(model["name"], about, tuple(exhibits), len(records), failed, argv)
    write_reproduction_page(out, found)
    return found


def _written(header: dict[str, Any]) -> str:
    """How prompts are written, up to their cue."""
    if template := header.get("prompt"):
        return f"Prompts are written as {template!r} and end with"
    instruction = header.get("instruction", INSTRUCTION)
    return f"Prompts end with {instruction!r} and, behind the template's own words,"


def _data_differs(header: dict[str, Any], followed: Recipe | None) -> list[str]:
    """What model, data and prompt differ in."""
    if followed is None or followed.plan.preset is None:
        return ["Another model, other questions and its own chat template."]
    lines = ["The given folder and its chat template stand for the paper's fine-tune and prompt."]
    if header["num_frames"] != followed.num_frames:
        lines.append(f"{header['num_frames']} frames (the paper: {followed.num_frames}).")
    if header.get("prompt", "") != followed.wording.prompt:
        lines.append(f"The words of --prompt {header.get('prompt', '')!r}.")
    return lines


def _depth_differs(header: dict[str, Any]) -> list[str]:
    window, depth = header["window"], header["model"]["num_layers"]
    return [] if window == 9 else [f"A window of {window} of {depth} layers (the paper: 9)."]


def _lenses(
    out: Path, header: dict[str, Any], records: Records, min_hits: int, shared: list[str]
) -> list[Exhibit]:
    seen = Survey(
        {**header, "norm": True, "matrix": "unembedding"},
        [r if "error" in r else {**r, **r["lens"]} for r in records],
    )
    which = header["which"]
    if not seen.chosen(which):
        return []
    draw_survey(out, seen, which, -(-header["model"]["num_layers"] // 8), min_hits)
    assert set(SURVEY_FIGURES) == {"answers", "exits", "words"}
    return [
        Exhibit(
            "figure-9", "Figure 9: answer probability by layer",
            "The state of the last token after every layer, read by the output matrix.",
            (*shared, "The paper applies no norm before the last layer (middle panel).",
             "Letters are those that the tokenizer writes after the cue."),
            ("answers", "exits"),
        ),
        Exhibit(
            "figure-4", "Figure 4: words of video tokens by layer",
            "How many video tokens read as a word of each group, and in which layers each is said.",
            (*shared,
             "The paper reads with the input embeddings, without a norm, in overlapping bins.",
             f"Words said fewer than {min_hits} times are left out, as in the paper."
             if min_hits == 100 else f"Words said fewer than {min_hits} times are left out (100)."),
            ("words",),
        ),
    ]  # fmt: skip


def _portraits(
    out: Path, portraits: Sequence[str], header: dict[str, Any], shared: list[str]
) -> list[Exhibit]:
    folders = [f"samples/{safe_name(name)}" for name in portraits]
    if not folders:
        return []
    return [
        Exhibit(
            "figure-4-overlay", "Figure 4, on the frames: words on their patches",
            "The word that each patch says most often in a bin of layers, of the first question of "
            "each task.",
            (*shared, "One figure for all groups of words; the reading is that of figure 4."),
            tuple(f"{folder}/overlay" for folder in folders),
        ),
        Exhibit(
            "figure-6", "Figure 6: attention of a question word, dense and knocked out",
            "What the last word of the question, and the last token, read in every layer: dense, "
            "and without cross-frame edges in every layer; mean over heads.",
            (*shared, "The paper shows chosen words and layers 11 to 20."),
            tuple(f"{f}/attention-{n}" for f in folders for n in (1, 2)),
        ),
    ]  # fmt: skip


def _half(
    out: Path, header: dict[str, Any], records: Records, data: Path, shared: list[str]
) -> Exhibit:
    traces = {"tuned": trace_of(out, header, records, "tuned", "half", data)}
    if header["base"] is not None:
        traces["base"] = trace_of(out, header, records, "base", "half", data)
    rows = half_rows({side: trace for side, trace in traces.items() if trace.traced})
    write_rows(out, "table-2", HALF, rows)
    depth = header["model"]["num_layers"]
    return Exhibit(
        "table-2", "Table 2: no cross-frame edges in the first half of the layers",
        f"Layers 1 to {depth // 2} of {depth}, on the answers whose knockouts are run. Accuracy "
        "over the vocabulary counts an answer that is no letter as wrong.",
        (*shared, "Intervals are bootstrapped by video."),
        columns=HALF, rows=tuple(tuple(row) for row in rows), tables=("table-2",),
    )  # fmt: skip


def _effective(
    out: Path, header: dict[str, Any], records: Records, followed: Recipe | None, shared: list[str]
) -> Exhibit:
    usable = [record for record in records if "error" not in record]
    rows = effective_rows(usable)
    write_rows(out, "table-3", EFFECTIVE, rows)
    kept = header["kept"]
    text = [record["tokens"]["text"] for record in usable]
    video = [record["tokens"]["video"] for record in usable]
    named = ", ".join(f"{name.replace('_', ' ')} L{a}-{b}" for name, (a, b) in kept.items())
    scaled = followed is None or followed.plan.preset is None
    by_hand = f" Kept by hand: {header['keep']}." if "keep" in header else ""
    return Exhibit(
        "table-3", "Table 3: effective pathways",
        f"Kept: {named}.{by_hand} Prompts of {min(video)} to {max(video)} "
        f"{Role.VIDEO.name.lower()} and {min(text)} to {max(text)} text tokens, on "
        "which the shares of edges are counted.",
        (*shared,
         *(["The map of LLaVA-NeXT-7B, scaled to the model's depth."] if scaled else []),
         "Random edges are drawn with a seed, at the published map's budget; random layers are the "
         "sealed map's own cuts in other layers.",
         "Accuracy over the options beside that over the vocabulary, which is the paper's."),
        columns=EFFECTIVE, rows=tuple(tuple(row) for row in rows), tables=("table-3",),
    )  # fmt: skip
