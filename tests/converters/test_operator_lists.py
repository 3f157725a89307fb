"""What graph preparation does is told in operators and multiply-adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.spec import ModelSpec


def test_operators_and_multiply_adds_before_and_after(
    model_file: Path, spec: ModelSpec, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    from edgedet.converters import formats
    from edgedet.converters.operator_lists import effect
    from edgedet.models.counting import count_macs
    from edgedet.models.network import build

    found = effect(model_file, formats.export(model_file, tmp_path / "saved_model"))
    before, after = found["before"], found["after"]
    assert before["macs"] == count_macs(build(spec, batch_size=1))
    # Besides those of 149 normalizations and 16 fusions: 18 gates, and the one weight of a fusion
    # that no convolution can take.
    assert after["operators"]["Mul"] == 18 + 1
    assert before["operators"]["Mul"] > 149 + 2 * 16 + 18
    assert sum(after["operators"].values()) < 0.8 * sum(before["operators"].values())
    # The heads are joined on the small maps, where that costs little.
    assert before["macs"] < after["macs"] < 1.2 * before["macs"]
    for part in (before, after):
        assert list(part["operators"].values()) == sorted(part["operators"].values())[::-1]
        assert not part["operators"].keys() & {"Const", "Identity", "Rsqrt"}
