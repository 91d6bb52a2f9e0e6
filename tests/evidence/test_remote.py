"""A model behind an endpoint is explained as the same model at hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, ResourceError
from prune.evidence.case import Case
from prune.evidence.completion import Choice, read_choices
from prune.evidence.objective import Objective
from prune.evidence.regions import whole_frames
from prune.evidence.remote import Endpoint, RemoteScorer
from prune.evidence.remote_case import RemoteCase, open_remote
from prune.evidence.reply import ReplyTarget
from prune.inputs.prompts import choice_text
from prune.inputs.sample import NO_ANSWER
from tests.evidence.server import Tiny, serving


def scorer_of(case: Case, endpoint: Endpoint, tokens: list[str]) -> RemoteScorer:
    question = choice_text(case.sample.question, list(case.sample.options))
    fill = np.zeros_like(case.frames)
    wanted = range(len(tokens))
    regions = whole_frames(case.frames)
    return RemoteScorer(endpoint, case.frames, fill, question, tokens, regions, wanted)


def test_the_order_is_that_of_the_model_itself(case: Case, tiny: LoadedModel) -> None:
    regions = whole_frames(case.frames)
    alone = np.eye(regions.count, dtype=bool)
    white = Objective(case.scorer(regions, "black"), [0])
    with serving(Tiny(tiny)) as url:
        black = Objective(scorer_of(case, Endpoint(url, "tiny"), [case.target.texts[0]]), [0])
        one, other = white.values(alone), black.values(alone)
    assert other == pytest.approx(one, abs=1e-4)
    assert stats.spearmanr(one, other).statistic >= 0.9


def test_later_tokens_follow_the_reply_so_far(case: Case, tiny: LoadedModel) -> None:
    everything = np.ones((1, 8), bool)
    with serving(Tiny(tiny)) as url:
        endpoint = Endpoint(url, "tiny")
        question = choice_text(case.sample.question, list(case.sample.options))
        assert endpoint.reply(case.frames, question)[0] == case.target.texts[0]
        scorer = scorer_of(case, endpoint, list(case.target.texts[:3]))
        found = scorer.probabilities(everything)
    assert scorer.forwards == 3
    whole = case.scorer(whole_frames(case.frames), "black").probabilities(everything)
    assert found == pytest.approx(whole[:, :3], abs=1e-4)


def test_only_what_the_target_needs_is_asked_for(case: Case, tiny: LoadedModel) -> None:
    everything = np.ones((1, 8), bool)
    with serving(Tiny(tiny)) as url:
        far = open_remote(Endpoint(url, "tiny"), case.sample, 8, "tokens:2")
        scorer = far.scorer(whole_frames(case.frames), "black")
        found = scorer.probabilities(everything)
        assert scorer.forwards == 2, "the third token, and the options"
        open_sample = replace(case.sample, options=(), answer=NO_ANSWER)
        target = ReplyTarget((), far.target.texts, (2,), "tokens:2")
        alone = RemoteCase(Endpoint(url, "tiny"), open_sample, case.frames, target)
        scorer = alone.scorer(whole_frames(case.frames), "black")
        scorer.probabilities(everything)
        assert scorer.forwards == 1 and alone.options().size == 0
    known = np.isfinite(found[0, : len(far.target.texts)])
    assert known.tolist() == [i in (0, 2) for i in range(len(known))]


def test_tokens_that_end_a_reply_are_none_of_it() -> None:
    def choice(text: str, *tokens: str, why: str = "stop") -> Choice:
        content = [{"token": token} for token in tokens]
        (found,) = read_choices(
            {"choices": [{"message": {"content": text}, "finish_reason": why,
                          "logprobs": {"content": content}}]}, "url",
        )  # fmt: skip
        return found

    assert choice("A cat.", "A", " cat", ".", "<|im_end|>").spoken == ["A", " cat", "."]
    assert choice("A cat", "A", " cat", "", "</s>").spoken == ["A", " cat"]
    assert choice("A cat", "A", "<sep>", " cat").spoken == ["A", "<sep>", " cat"]
    assert choice("A cat", "A", " cat", "<sep>", why="length").spoken == ["A", " cat", "<sep>"]


def test_without_log_probabilities_replies_are_sampled(case: Case, tiny: LoadedModel) -> None:
    everything, token = np.ones((1, 8), bool), [case.target.texts[0]]
    with serving(Tiny(tiny, silent=True)) as url:
        with pytest.raises(BadInputError, match="let it sample"):
            scorer_of(case, Endpoint(url, "tiny"), token).probabilities(everything)
        sampling = scorer_of(case, Endpoint(url, "tiny", samples=64), token)
        p = sampling.probabilities(everything)[0, 0]
    exact = case.forcing.probabilities(np.ones((1, len(case.forcing.video)), bool))[0, 0]
    assert p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 64) ** 0.5 + 0.02)


def test_a_case_without_log_probabilities(case: Case, tiny: LoadedModel) -> None:
    with serving(Tiny(tiny, silent=True)) as url:
        with pytest.raises(BadInputError, match="let it sample"):
            open_remote(Endpoint(url, "tiny"), case.sample, 8, "answer")
        far = open_remote(Endpoint(url, "tiny", samples=16), case.sample, 8, "answer")
        p = far.options()
    assert [text.strip() for text in far.target.texts] == [t.strip() for t in case.target.texts]
    assert far.forwards == 1 and p.argmax() == case.options().argmax()


def test_an_endpoint_that_is_not_there(case: Case) -> None:
    endpoint = Endpoint("http://127.0.0.1:9/v1/chat/completions", "tiny", waits=(0.01,))
    with pytest.raises(ResourceError, match="no usable answer in 2 requests: ConnectError"):
        endpoint.reply(case.frames, "Question?")
