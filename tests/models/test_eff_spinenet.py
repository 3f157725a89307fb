"""Eff-SpineNet against its paper: parameters, multiply-adds, widths, wiring."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from edgedet.cli.models import count_spec
from edgedet.models import Count, preset_spec, presets
from edgedet.models.eff_spinenet import NODES, WIDTHS, round_width
from edgedet.spec import ModelSpec

# Trainable parameters at 91 and at 80 classes; multiply-adds at 91 classes; the paper's figures
# (Table 7) for the same: millions of parameters, billions of multiply-adds.
COUNTS = [
    ("eff-spinenet-m0", 650_808, 648_333, 138_518_800, 0.67, 0.15),
    ("eff-spinenet-m1", 990_967, 986_908, 450_585_048, 0.99, 0.51),
    ("eff-spinenet-m2", 2_419_222, 2_412_787, 937_054_308, 2.36, 0.97),
]


@pytest.mark.parametrize(("name", "at_91", "at_80", "macs", "paper_params", "paper_macs"), COUNTS)
def test_counts_are_exact_and_near_the_papers(
    counted: Callable[[str], Count],
    name: str,
    at_91: int,
    at_80: int,
    macs: int,
    paper_params: float,
    paper_macs: float,
) -> None:
    assert counted(name).parameters == at_91
    assert counted(name).multiply_adds == macs
    assert at_91 / 1e6 == pytest.approx(paper_params, rel=0.05)
    # The paper's profiler also counts activations, biases and normalizations.
    assert macs / 1e9 == pytest.approx(paper_macs, rel=0.12)
    if name == "eff-spinenet-m0":
        labels = [str(index) for index in range(80)]
        assert count_spec(preset_spec(name, labels)).parameters == at_80


def test_every_mobile_preset_is_counted() -> None:
    mobile = [preset.name for preset in presets() if preset.name.startswith("eff-spinenet-m")]
    assert mobile == [row[0] for row in COUNTS]


def test_widths_follow_from_the_papers_resource_distribution() -> None:
    # Eq. 4 of the paper: a block's multiply-adds go with width^2 / 4^level; beta is the share that
    # the search gave to each block, starting from SP-EfficientNet-B0's widths (Table 1).
    before = np.array(
        [16, 24, 24, 24, 96, 40, 96, 152, 96, 152, 152, 152, 152, 96, 40, 152, 152, 152]
    )
    beta = np.array([10, 10, 5, 5, 15, 20, 20, 1, 20, 15, 5, 20, 10, 15, 15, 10, 10, 1])
    widths = before * np.sqrt(0.07802 * beta)
    np.testing.assert_array_equal(np.round(widths / 8) * 8, WIDTHS)


@pytest.mark.parametrize(
    ("channels", "rounded"), [(6.4, 8), (9.6, 8), (16, 16), (1, 4), (17.9, 16), (18, 20)]
)
def test_widths_round_to_multiples_of_four(channels: float, rounded: int) -> None:
    assert round_width(channels) == rounded


def test_outputs_are_p3_to_p7() -> None:
    assert sorted(node.level for node in NODES if node.output) == [3, 4, 5, 6, 7]


def test_the_unused_block_12_joins_output_15(small_network: keras.Model) -> None:
    fusion = small_network.get_layer("node_15_fusion")
    assert fusion.fusion.shape == (3,)
    others = [
        layer.fusion.shape[0]
        for layer in small_network.layers
        if layer.name.endswith("_fusion") and layer is not fusion
    ]
    assert others == [2] * 15


def test_raw_heads_have_a_tensor_per_level(
    small_network: keras.Model, small_spec: ModelSpec
) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in small_network.output.items()}
    assert shapes == {
        **{f"class_{level}": (None, *small_spec.level_size(level), 9 * 3) for level in range(3, 8)},
        **{f"box_{level}": (None, *small_spec.level_size(level), 9 * 4) for level in range(3, 8)},
    }


def test_fresh_heads_predict_one_percent(small_network: keras.Model) -> None:
    outputs = small_network(np.zeros((1, 128, 128, 3), np.float32), training=False)
    logits = np.concatenate([np.ravel(outputs[f"class_{n}"]) for n in (3, 4, 5)])
    probability = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(probability, 0.01, rtol=0.2)


def test_heads_share_convolutions_but_not_normalizations(small_network: keras.Model) -> None:
    names = [layer.name for layer in small_network.layers]
    assert names.count("class_head_0_pointwise") == 1
    assert (
        sum(name.startswith("class_head_0_level_") and name.endswith("_bn") for name in names) == 5
    )


def test_a_signal_at_any_input_pixel_reaches_every_output(small_network: keras.Model) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 128, 128, 3)).astype(np.float32)
    images[1] = images[0]
    images[1, 100, 28] += 50
    for name, tensor in small_network(images, training=False).items():
        assert np.abs(tensor[0] - tensor[1]).max() > 0, name
