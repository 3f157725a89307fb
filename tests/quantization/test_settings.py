"""Settings: the ways there are, in words."""

from __future__ import annotations

import pytest

from edgedet.errors import InvalidInputError
from edgedet.quantization.settings import QuantizationSettings


def test_settings_say_what_they_do() -> None:
    assert QuantizationSettings().describe() == "fitted ranges"
    everything = QuantizationSettings("mse", True, True, ("stem", "neck", "head", "last"))
    assert everything.describe() == (
        "mse ranges, cross-layer equalization, bias correction, "
        "4 layers in float (stem, neck, head, ...)"
    )
    assert QuantizationSettings(keep=("stem",)).describe().endswith("1 layer in float (stem)")


def test_unknown_ranges() -> None:
    with pytest.raises(InvalidInputError, match="no way 'entropy' to choose ranges; use one of"):
        QuantizationSettings("entropy")
