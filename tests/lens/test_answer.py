"""The answer read after every layer; the last reading is the model's own."""

import pytest
import torch
from torch import Tensor

from prune.checkpoint.load import LoadedModel
from prune.errors import NumericError
from prune.families import video_families
from prune.inputs.encode import letter_ids, read
from prune.inputs.samples import Sample
from prune.lens.answer import AnswerByLayer, first_layer, settled_layer
from prune.lens.states import Lens, visit_states
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from tests.families.specimen import tiny_of

PROMPT = ("USER: ", 3, " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B")
RUNNABLE = video_families()


@torch.no_grad()
@pytest.mark.parametrize("name", RUNNABLE)
def test_the_last_layer_is_the_models_output(name: str) -> None:
    tiny = tiny_of(name)
    inputs = tiny.inputs(PROMPT)
    output = tiny.model(**inputs, output_hidden_states=True)
    own = output.logits[0, -1].double().softmax(-1)
    replay = capture(tiny.model, tiny.processor, inputs)
    everything = list(range(len(own)))
    readings = [
        AnswerByLayer(Lens(tiny.model, replay.text_model, norm), everything)
        for norm in (True, False)
    ]
    states: list[Tensor] = []

    def visit(layer: int, state: Tensor) -> None:
        assert layer == len(states)
        states.append(state)
        for reading in readings:
            reading(layer, state)

    with seam(tiny.model):
        logits = visit_states(replay, visit)
    for reading in readings:
        last = torch.tensor(reading.probabilities[-1], dtype=torch.double)
        assert torch.equal(last, logits[0].double().softmax(-1))
        torch.testing.assert_close(last, own, atol=1e-6, rtol=1e-5)
        assert len(reading.likeliest) == len(replay.text_model.layers)
    normed, raw = (torch.tensor(reading.probabilities[0]) for reading in readings)
    assert (normed - raw).abs().max() > 1e-4, "the norm must matter before the last layer"
    # transformers has the same states, without the features that some families add to video later.
    text = replay.segments.frame[0] < 0
    for state, hidden in zip(states[:-1], output.hidden_states[:-1], strict=True):
        torch.testing.assert_close(state[:, text], hidden[:, text], atol=1e-5, rtol=1e-5)


def test_a_reading_is_the_head_on_that_layers_state(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    replay = capture(tiny.model, tiny.processor, read(tiny.processor, samples[:1], 8))
    letters = letter_ids(tiny.processor, samples[0])
    reading = AnswerByLayer(Lens(tiny.model, replay.text_model, norm=False), letters)
    caught: list[Tensor] = []
    handle = replay.text_model.layers[4].register_forward_hook(lambda m, a, out: caught.append(out))
    with seam(tiny.model):
        visit_states(replay, reading)
    handle.remove()
    out = caught[0][0] if isinstance(caught[0], tuple) else caught[0]
    p = tiny.model.lm_head(out[0, -1]).double().softmax(-1)
    assert reading.probabilities[4] == pytest.approx(p[letters].tolist())


def test_exits() -> None:
    likeliest = [3, 7, 5, 7, 7]
    assert first_layer(likeliest) == 2 and settled_layer(likeliest) == 4
    assert first_layer([7, 7]) == settled_layer([7, 7]) == 1


def test_states_that_are_not_finite_are_refused(tiny: LoadedModel) -> None:
    text_model = tiny.model.model.language_model
    with pytest.raises(NumericError, match="after layer 3"):
        Lens(tiny.model, text_model).logits(3, torch.full((1, 128), float("nan")))
