"""Models behind an OpenAI-style endpoint, known only by replies and their probabilities.

Each target token costs one request for each set of regions: the frames, with the others' pixels
filled, the question, and the reply so far to be continued (2509.22496's API version does the same).
Its probability is that of the first new token among the `top_logprobs` that the endpoint returns,
or its share among sampled continuations where it returns none.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.errors import BadInputError
from prune.evidence.client import WAITS, post
from prune.evidence.completion import Choice, read_choices
from prune.evidence.regions import Regions

TOP = 20
"""Most alternatives that OpenAI-style endpoints return."""


@dataclass(frozen=True)
class Endpoint:
    """The address of a served model.

    Attributes:
        url: of `/v1/chat/completions`.
        model: its name there.
        key: sent as a bearer token, unless empty.
        samples: continuations to sample at temperature 1 where the endpoint has no
            log-probabilities; 0 asks for log-probabilities.
        waits: seconds before each repetition of a request that may succeed later.
    """

    url: str
    model: str
    key: str = ""
    samples: int = 0
    waits: tuple[float, ...] = WAITS

    def ask(
        self, frames: NDArray[np.uint8], question: str, reply: str, **more: Any
    ) -> list[Choice]:
        """The endpoint's choices for frames `[T, H, W, 3]`, a question and a reply to continue.

        Raises:
            BadInputError: it refuses this request, or does not answer in OpenAI's format.
            ResourceError: it cannot be reached or is busy, or refuses the key.
        """
        content = [{"type": "image_url", "image_url": {"url": _png(f)}} for f in frames]
        content.append({"type": "text", "text": question})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if reply:
            messages.append({"role": "assistant", "content": reply})
            # How vLLM and SGLang continue a partial reply; other servers ignore these fields.
            more |= {"add_generation_prompt": False, "continue_final_message": True}
        body = {"model": self.model, "messages": messages, **more}
        return read_choices(post(self.url, body, self.key, self.waits), self.url)

    def reply(self, frames: NDArray[np.uint8], question: str, max_tokens: int = 128) -> list[str]:
        """The model's greedy reply, token by token.

        Raises:
            BadInputError: as `ask`, or the endpoint does not return the tokens it chose.
        """
        if self.samples:
            return self._reply_by_steps(frames, question, max_tokens)
        choice = self.ask(
            frames, question, "", max_tokens=max_tokens, temperature=0, logprobs=True
        )[0]
        if not choice.tokens:
            raise BadInputError(
                f"{self.url}: answers without the tokens of its reply (logprobs): let it sample "
                "continuations instead (--sampled N)"
            )
        return choice.spoken[:max_tokens]

    def _reply_by_steps(
        self, frames: NDArray[np.uint8], question: str, max_tokens: int
    ) -> list[str]:
        """A reply without log-probabilities: where a token ends shows when one is asked for."""
        tokens: list[str] = []
        while len(tokens) < max_tokens:
            reply = "".join(tokens)
            text = self.ask(frames, question, reply, max_tokens=1, temperature=0)[0].text
            if not text:
                break
            tokens.append(text)
        return tokens


@dataclass
class RemoteScorer:
    """Scores sets of visible regions by asking an endpoint.

    Attributes:
        endpoint: the model.
        frames, fill: the clip, and the pixels of removed regions, uint8 `[T, H, W, 3]`.
        question: the user's text.
        tokens: of the reply, K.
        regions: of the clip.
        wanted: the tokens whose probability is asked for; that of the others is not known (NaN).
        alternatives: A words that could replace the first token; they cost no request if it is
            wanted.
        forwards: requests so far.
    """

    endpoint: Endpoint
    frames: NDArray[np.uint8]
    fill: NDArray[np.uint8]
    question: str
    tokens: Sequence[str]
    regions: Regions
    wanted: Sequence[int]
    alternatives: Sequence[str] = ()
    forwards: int = 0

    @property
    def num_regions(self) -> int:
        """R."""
        return self.regions.count

    def probabilities(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """See `prune.evidence.scorer.Scorer`; 0 for a token that is not among those returned.

        Each wanted token, and the first if there are alternatives, costs a request for each set.

        Raises:
            BadInputError: the endpoint does not answer, or answers without log-probabilities.
        """
        found = np.full((len(visible), len(self.tokens) + len(self.alternatives)), np.nan)
        asked = sorted({*self.wanted, *([0] if self.alternatives else [])})
        for row, seen in enumerate(visible):
            frames = np.where(self.regions.shown(seen)[..., None], self.frames, self.fill)
            for index in asked:
                next_words = self._next(frames, "".join(self.tokens[:index]))
                found[row, index] = _share(next_words, self.tokens[index])
                if index == 0:
                    found[row, len(self.tokens) :] = [
                        _share(next_words, word) for word in self.alternatives
                    ]
        return found

    def _next(self, frames: NDArray[np.uint8], reply: str) -> list[tuple[str, float]]:
        """The possible next tokens of the reply, with their probabilities."""
        self.forwards += 1
        samples = self.endpoint.samples
        if samples:
            choices = self.endpoint.ask(
                frames, self.question, reply, max_tokens=1, temperature=1, n=samples
            )
            return [(choice.text, 1 / len(choices)) for choice in choices]
        choice = self.endpoint.ask(
            frames, self.question, reply, max_tokens=1, temperature=0, logprobs=True,
            top_logprobs=TOP,
        )[0]  # fmt: skip
        if not choice.tokens or not choice.tokens[0].top_logprobs:
            raise BadInputError(
                f"{self.endpoint.url}: answers without log-probabilities: let it sample "
                "continuations instead (--sampled N)"
            )
        return [(t.token, t.probability) for t in choice.tokens[0].top_logprobs]


def _share(words: list[tuple[str, float]], token: str) -> float:
    """Probability of `token` among the possible next ones."""
    return sum(p for word, p in words if _same(word, token))


def _same(one: str, other: str) -> bool:
    """Whether two tokens are the same word; servers differ in the leading space."""
    return one.strip() == other.strip() if other.strip() else one == other


def _png(frame: NDArray[np.uint8]) -> str:
    """A frame as a lossless data URI."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
