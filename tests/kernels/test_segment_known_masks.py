import pytest
import segment_oracle as oracle
import torch
from segment_checks import check_known_mask
from segment_known_masks import KnownMask, known_masks

MASKS = [pytest.param(known, id=known.case.name) for known in known_masks()]


@pytest.mark.parametrize("known", MASKS)
def test_roles_and_frames_say_the_same(known: KnownMask) -> None:
    found = oracle.mask(*known.case.layout, known.case.queries)
    assert torch.equal(found.expand_as(known.mask), known.mask)
    assert (known.case.role.shape[1] % 8) != 0
    assert not known.mask.any(-1).logical_not().any(), "every row reads itself"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("impl", ["sdpa", "auto"])
@pytest.mark.parametrize("known", MASKS)
def test_attention_under_a_known_mask(known: KnownMask, impl: str, dtype: torch.dtype) -> None:
    check_known_mask(known, impl, dtype)
