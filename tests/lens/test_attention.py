"""Attention maps are those of the eager model, dense and under a knockout."""

import pytest
import torch
from torch import Tensor

from prune.checkpoint.load import LoadedModel
from prune.errors import UsageError
from prune.families import video_families
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.kernels import allowed_edges
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import knockout
from prune.lens.attention import attention_rows, pooled
from prune.lens.query import query_rows
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture
from tests.families.specimen import Tiny, tiny_of

RUNNABLE = video_families()
PROMPT = ("USER: ", 3, " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B")
PATHWAY = find_pathway("cross_frame")
LAYERS = (1, 2)


@torch.no_grad()
def eager_attentions(tiny: Tiny, replay: Replay, masked: bool) -> Tensor:
    """Attentions `[L, H, S, S]` of transformers' eager model, with the pathway's edges masked."""
    segments, model = replay.segments, replay.model
    table = torch.from_numpy(knockout(1, PATHWAY, [0])[0])
    allowed = allowed_edges(segments.role, segments.frame, table, segments.shape[1])
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)

    def cut(module, args, kwargs):
        return args, {**kwargs, "attention_mask": mask}

    handles = [
        replay.text_model.layers[layer].self_attn.register_forward_pre_hook(cut, with_kwargs=True)
        for layer in (LAYERS if masked else ())
    ]
    before = model.config.text_config._attn_implementation
    model.set_attn_implementation({"text_config": "eager"})
    try:
        output = model(**tiny.inputs(PROMPT), output_attentions=True)
    finally:
        model.set_attn_implementation({"text_config": before})
        for handle in handles:
            handle.remove()
    return torch.cat(output.attentions)


@pytest.mark.parametrize("name", RUNNABLE)
def test_rows_are_the_eager_models(name: str) -> None:
    tiny = tiny_of(name)
    replay = capture(tiny.model, tiny.processor, tiny.inputs(PROMPT))
    length = replay.segments.shape[1]
    # Rows of a later frame, of the question and the last one.
    video = (replay.segments.frame[0] >= 0).nonzero()[:, 0]
    rows = torch.tensor([int(video[-1]), length - 20, length - 1])
    with seam(tiny.model):
        dense = attention_rows(replay, rows)
        cut = attention_rows(replay, rows, PATHWAY, LAYERS)
    eager = eager_attentions(tiny, replay, masked=False)[:, :, rows]
    torch.testing.assert_close(dense, eager, atol=1e-5, rtol=1e-4)
    eager_cut = eager_attentions(tiny, replay, masked=True)[:, :, rows]
    torch.testing.assert_close(cut, eager_cut, atol=1e-5, rtol=1e-4)
    assert (cut - dense)[3:].abs().max() > 1e-4, "later layers must see what was cut"


def test_heads_are_pooled() -> None:
    weights = torch.rand(2, 3, 4, 5)
    assert torch.equal(pooled(weights, 1), weights[:, 1].mean(1))
    assert torch.equal(pooled(weights, "max"), weights.mean(2).amax(1))
    torch.testing.assert_close(pooled(weights, "mean"), weights.mean((1, 2)))


def test_queries(tiny: LoadedModel, samples: list[Sample]) -> None:
    (sample,) = [s for s in samples if s.task == "moving_direction"][:1]
    inputs = read(tiny.processor, [sample], 8)
    segments = capture(tiny.model, tiny.processor, inputs).segments
    length = segments.shape[1]

    def rows(query: str) -> list[int]:
        return query_rows(tiny.processor, inputs, segments, query).tolist()

    def text(query: str) -> str:
        return tiny.processor.tokenizer.decode(inputs["input_ids"][0, rows(query)]).strip()

    assert rows("last") == rows("-1") == rows(str(length - 1)) == [length - 1]
    assert text("WAY") == "way" and text("Which way") == "Which way"
    assert text("mov") == "move"
    assert text("word:way") == "way"
    with pytest.raises(UsageError, match="--query 'word:last': not in the prompt"):
        rows("word:last")
    for wrong in ("elephant", str(length), " "):
        with pytest.raises(UsageError, match="--query"):
            rows(wrong)
