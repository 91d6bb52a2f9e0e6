"""An untested transformers is named, and one that hands on too little is refused."""

from typing import Any

import pytest

import prune
from prune.errors import RefusedError
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from prune.runtime import versions
from prune.runtime.versions import UntestedVersionWarning, self_check, untested
from tests.families.specimen import Tiny
from tests.runtime.conversation import ONE, narrow_plan


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the installed release were one that came after the tests."""
    monkeypatch.setattr(versions, "NEWEST", "5.17")
    monkeypatch.setattr(versions, "OLDEST", "5.16")
    monkeypatch.setattr(versions, "__version__", "5.99.1")
    versions.warn_untested.cache_clear()


def test_the_installed_release_is_tested() -> None:
    assert untested() is None


def test_a_newer_release_is_named_and_checked(random_tiny: Tiny, newer: None) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(ONE)
    assert "5.99.1 is outside of 5.16 to 5.17" in str(untested())
    with pytest.warns(UntestedVersionWarning, match=r"5\.99\.1"):
        with prune.apply(model, Plan.dense(geometry(model)), processor=random_tiny.processor):
            model(**inputs)


@pytest.mark.parametrize("lost", ["position_embeddings", "prune"])
def test_a_layer_that_gets_less_is_refused(
    random_tiny: Tiny, newer: None, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a release renames an argument: the layers compute, and the hooks do not see it."""
    model = random_tiny.model
    text_model = random_tiny.family.text_model_of(model)
    kind = type(text_model.layers[0])
    plain = kind.__call__

    def renamed(self: Any, *args: Any, **kwargs: Any) -> Any:
        if lost in kwargs and type(self) is kind:
            held = kwargs.pop(lost)
            own = self.forward
            self.forward = lambda *a, **k: own(*a, **k, **{lost: held})
            try:
                return plain(self, *args, **kwargs)
            finally:
                del self.forward
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(kind, "__call__", renamed)
    with pytest.raises(RefusedError, match=r"transformers 5\.99\.1 cannot run under a plan"):
        self_check(model, text_model)
    with pytest.warns(UntestedVersionWarning), pytest.raises(RefusedError):
        with prune.apply(model, narrow_plan(model), processor=random_tiny.processor):
            pass
