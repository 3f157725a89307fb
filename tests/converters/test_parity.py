"""How far a converted network may be from Keras's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedet.converters.conversion import Request, check_parity
from edgedet.converters.saved_model import Exported
from edgedet.errors import EdgeDetError
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

SPEC = ModelSpec("m", InputSpec(8, 8), AnchorSpec(min_level=3, max_level=3), ("cat",), (1,))


def check(off: float, *, spread: float = 0.0, precision: str = "float32", shape: int = 4) -> None:
    """Check outputs that end at 10 and are `off` from what they should be."""
    expected = {name: np.linspace(-10, 10, 4, dtype=np.float32) for name in ("class_3", "box_3")}
    probe = np.zeros((1, 8, 8, 3), np.float32)
    spreads = dict.fromkeys(expected, spread)
    exported = Exported(Path(), SPEC, frozenset(), probe, expected, spreads)
    request = Request(Path("model.keras"), precision, None, lambda *_: None)
    found = {"class_3": expected["class_3"], "box_3": expected["box_3"][:shape] + np.float32(off)}
    check_parity(request, exported, found)


@pytest.mark.parametrize(
    ("off", "spread", "precision"),
    [(0.009, 0, "float32"), (0.3, 0, "float16"), (0.058, 0.02, "float32")],
)
def test_rounding_is_allowed(off: float, spread: float, precision: str) -> None:
    check(off, spread=spread, precision=precision)


@pytest.mark.parametrize(
    ("off", "spread", "precision"),
    [(0.012, 0, "float32"), (0.6, 0, "float16"), (0.1, 0.02, "float32"), (np.nan, 0, "float32")],
)
def test_more_is_not(off: float, spread: float, precision: str) -> None:
    with pytest.raises(EdgeDetError, match=r"model\.keras: .* output box_3 differs from Keras's"):
        check(off, spread=spread, precision=precision)


def test_another_shape_is_not() -> None:
    with pytest.raises(EdgeDetError, match=r"lacks the output box_3 of shape \[4\]"):
        check(0, shape=3)
