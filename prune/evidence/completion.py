"""The answer of a chat-completions endpoint, as far as prune reads it."""

from math import exp
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from prune.errors import BadInputError
from prune.io.closed import first_problem

Logprob = Annotated[float, Field(le=0.01, allow_inf_nan=False)]


class Candidate(BaseModel):
    """A possible token and the logarithm of its probability."""

    token: str
    logprob: Logprob

    @property
    def probability(self) -> float:
        """At most 1: servers round."""
        return min(1.0, exp(self.logprob))


class ChosenToken(BaseModel):
    """A token of the reply, with the most probable ones in its place."""

    token: str
    top_logprobs: list[Candidate] = []


class _Logprobs(BaseModel):
    content: list[ChosenToken] | None = None


class _Message(BaseModel):
    content: str | None = None


class Choice(BaseModel):
    """One reply."""

    message: _Message = _Message()
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        """The reply."""
        return self.message.content or ""

    @property
    def tokens(self) -> list[ChosenToken]:
        """Its tokens; none if the endpoint returns no log-probabilities."""
        return (self.logprobs.content if self.logprobs else None) or []

    @property
    def spoken(self) -> list[str]:
        """Texts of the tokens without those that end the reply, which some servers list, too.

        A reply that was cut off has none of them. Special tokens within it stay.
        """
        texts = [token.token for token in self.tokens]
        if self.finish_reason == "length":
            return texts
        while texts and not (texts[-1] and self.text.endswith(texts[-1])):
            # A piece of a character is no part of any text: no end of a reply either.
            if "\ufffd" in texts[-1]:
                break
            texts.pop()
        return texts or [token.token for token in self.tokens]


class _Completion(BaseModel):
    choices: Annotated[list[Choice], Field(min_length=1)]


def read_choices(answer: Any, url: str) -> list[Choice]:
    """The replies in an answer; raises `BadInputError` if it is none in OpenAI's format."""
    try:
        return _Completion.model_validate(answer).choices
    except ValidationError as error:
        raise BadInputError(f"{url}: no usable answer: {first_problem(error)}") from None
