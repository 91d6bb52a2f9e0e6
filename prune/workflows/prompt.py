"""The workflow of `prune inspect --prompt`: one prompt, with the role of every token."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from prune.checkpoint.load import open_processor, resolve
from prune.errors import UsageError
from prune.inputs.conversation import encode_conversation
from prune.inputs.encode import read
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING, Wording
from prune.inputs.samples import load_samples
from prune.io.untrusted import check_configs
from prune.layout.role import Role
from prune.layout.segments import segment
from prune.layout.tokens import token_starts
from prune.workflows.select import by_id


@dataclass(frozen=True)
class PromptPart:
    """Neighbouring tokens of one role, frame and option.

    Attributes:
        role: theirs; None where the roles of the prompt cannot be known.
        frame, option: their index, or -1.
        tokens: how many they are.
        text: what they stand for; "" of video and images.
    """

    role: Role | None
    frame: int
    option: int
    tokens: int
    text: str


@dataclass(frozen=True)
class RolesOfPrompt:
    """A prompt in parts.

    Attributes:
        name: of the sample, or of the file.
        parts: in order.
    """

    name: str
    parts: tuple[PromptPart, ...]

    @property
    def known(self) -> bool:
        """Whether the roles could be found."""
        return all(part.role is not None for part in self.parts)

    @property
    def dense(self) -> str:
        """Why a plan leaves the prompt dense; "" if it does not."""
        if not self.known:
            return "its roles cannot be known"
        return "" if self.tokens(Role.VIDEO) else "it shows no video"

    def tokens(self, role: Role) -> int:
        """Number of tokens of a role."""
        return sum(part.tokens for part in self.parts if part.role == role)


def roles_of_prompt(
    model: str | Path,
    prompt: Path,
    sample: str | None = None,
    *,
    num_frames: int = 8,
    cue: str = ANSWER_CUE,
    wording: Wording = DEFAULT_WORDING,
    media: Media = DEFAULT_MEDIA,
) -> RolesOfPrompt:
    """The roles that the tokens of one prompt have; the model's weights are not read.

    Args:
        model: folder, hub id or embedded model.
        prompt: JSONL of samples, or a `.json` file with chat messages
            (`prune.inputs.conversation`).
        sample: id of the sample, the first if None.
        num_frames: frames of every clip.
        cue: what the prompt of a sample ends with (`prune.inputs.samples.Sample`).
        wording: what the prompt of a sample says around its question.
        media: how clips are read of which the data says nothing.

    Raises:
        BadInputError: a file cannot be read, or the model's family is unknown.
        UsageError: there is no such sample.
    """
    folder = resolve(model)
    check_configs(folder)
    processor = open_processor(folder)
    if prompt.suffix == ".json":
        if sample is not None:
            raise UsageError(f"--sample: {prompt} is one conversation, not a data set")
        name, inputs = prompt.name, encode_conversation(processor, prompt, num_frames, media)
    else:
        samples = load_samples(prompt, cue, media, wording)
        chosen = samples[0] if sample is None else by_id(samples, [sample], prompt)[0]
        name, inputs = chosen.id, read(processor, [chosen], num_frames)
    layout = segment(processor, inputs)
    text, starts = token_starts(processor.tokenizer, inputs["input_ids"][0].tolist())
    columns = (layout.role[0].tolist(), layout.frame[0].tolist(), layout.option[0].tolist())
    edges = zip(*columns, starts, [*starts[1:], len(text)], strict=True)
    known = not bool(layout.unknown.any())
    parts = []
    for (role, frame, option), run in groupby(edges, key=lambda token: token[:3]):
        places = [(start, stop) for *_, start, stop in run]
        shown = text[places[0][0] : places[-1][1]]
        if known and role in (Role.VIDEO, Role.IMAGE):
            shown = ""
        parts.append(PromptPart(Role(role) if known else None, frame, option, len(places), shown))
    return RolesOfPrompt(name, tuple(parts))
