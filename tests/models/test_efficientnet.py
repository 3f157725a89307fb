"""EfficientNet and EfficientNet-Lite: exact parameters, shapes, scaling."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models import count_macs
from edgedet.models.blocks import BlockStyle
from edgedet.models.classifiers import CLASSIFIERS, build_classifier
from edgedet.models.efficientnet import (
    EfficientNet,
    efficientnet,
    efficientnet_coefficients,
    efficientnet_variants,
    round_channels,
)

# Trainable parameters with 1000 classes, and of the backbone up to level 5 (without the top
# convolution); billions of multiply-adds; channels of levels 1 to 5. For B0 to B7 those of the
# reference implementation, for Lite those of its public ports.
COUNTS = [
    ("b0", 5_288_548, 3_595_388, 0.386, (16, 24, 40, 112, 320)),
    ("b1", 7_794_184, 6_101_024, 0.687, (16, 24, 40, 112, 320)),
    ("b2", 9_109_994, 7_202_562, 0.994, (16, 24, 48, 120, 352)),
    ("b3", 12_233_232, 10_103_336, 1.827, (24, 32, 48, 136, 384)),
    ("b4", 19_341_616, 16_742_216, 4.394, (24, 32, 56, 160, 448)),
    ("b5", 30_389_784, 27_288_112, 10.266, (24, 40, 64, 176, 512)),
    ("b6", 43_040_704, 39_403_992, 19.068, (32, 40, 72, 200, 576)),
    ("b7", 66_347_960, 62_143_440, 37.746, (32, 48, 80, 224, 640)),
    ("lite0", 4_652_008, 2_958_848, None, (16, 24, 40, 112, 320)),
    ("lite1", 5_416_680, 3_723_520, None, (16, 24, 40, 112, 320)),
    ("lite2", 6_092_072, 4_357_952, None, (16, 24, 48, 120, 352)),
    ("lite3", 8_197_096, 6_422_016, None, (24, 32, 48, 136, 384)),
    ("lite4", 13_006_568, 11_149_568, None, (24, 32, 56, 160, 448)),
]


def _trainable(layers: list[keras.layers.Layer]) -> int:
    return sum(int(np.prod(weight.shape)) for layer in layers for weight in layer.trainable_weights)


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(("variant", "params", "backbone", "macs", "channels"), COUNTS)
def test_counts_are_exact(
    variant: str, params: int, backbone: int, macs: float | None, channels: tuple[int, ...]
) -> None:
    network = build_classifier(f"efficientnet-{variant}")
    assert network.input.shape == (None, *[efficientnet(variant).size] * 2, 3)
    assert network.output.shape == (None, 1000)
    top = [layer for layer in network.layers if layer.name.startswith(("top_", "predictions"))]
    assert _trainable(network.layers) == params
    assert params - _trainable(top) == backbone
    if macs is not None:
        assert count_macs(network) / 1e9 == pytest.approx(macs, abs=0.0006)
    stages = efficientnet(variant).backbone.stages()
    ends = [0, 1, 2, 4, 6]
    assert tuple(stages[end].channels for end in ends) == channels
    for end in ends:
        name = f"stage_{end}_block_{stages[end].repeats - 1}_project_bn"
        assert network.get_layer(name).output.shape[-1] == stages[end].channels


def test_every_variant_is_counted_and_classifies() -> None:
    assert list(efficientnet_variants()) == [row[0] for row in COUNTS]
    assert {f"efficientnet-{row[0]}" for row in COUNTS} <= set(CLASSIFIERS)


@pytest.mark.parametrize("lite", [False, True])
def test_features_are_the_last_maps_of_their_strides(lite: bool) -> None:
    image = keras.Input((64, 96, 3))
    features = EfficientNet(lite=lite).features(image, BlockStyle("relu6"))
    assert {level: tuple(tensor.shape[1:]) for level, tensor in features.items()} == {
        1: (32, 48, 16),
        2: (16, 24, 24),
        3: (8, 12, 40),
        4: (4, 6, 112),
        5: (2, 3, 320),
    }


@pytest.mark.usefixtures("without_weights")
def test_squeeze_and_excite_is_a_quarter_of_the_blocks_input_or_left_out() -> None:
    image = keras.Input((32, 32, 3))
    # The style's own ratio is another network's.
    style = BlockStyle("swish", se_ratio=0.2)
    network = keras.Model(image, EfficientNet().features(image, style)[5])
    assert network.get_layer("stage_0_block_0_se_reduce").kernel.shape == (1, 1, 32, 8)
    assert network.get_layer("stage_3_block_0_se_reduce").kernel.shape == (1, 1, 240, 10)
    lite = keras.Model(image, EfficientNet(lite=True).features(image, style)[5])
    without = keras.Model(image, EfficientNet(se_ratio=0.0).features(image, style)[5])
    for network in (lite, without):
        assert not [layer.name for layer in network.layers if "_se_" in layer.name]


@pytest.mark.usefixtures("without_weights")
def test_lite_scales_neither_stem_nor_top_nor_the_first_and_last_stage() -> None:
    variant = efficientnet("lite4")
    network = build_classifier("efficientnet-lite4", size=32)
    assert network.get_layer("stem_conv").filters == 32
    assert network.get_layer("top_conv").filters == 1280
    assert [stage.repeats for stage in variant.backbone.stages()] == [1, 4, 4, 6, 6, 8, 1]
    assert [stage.repeats for stage in efficientnet("b4").backbone.stages()] == [
        *(2, 4, 4, 6, 6, 8, 2)
    ]
    assert efficientnet("lite0").backbone.normalization == ((127,) * 3, (128,) * 3)
    activations = {
        layer.name.rpartition("_")[2]
        for layer in network.layers
        if isinstance(layer, keras.layers.Activation)
    }
    assert activations == {"relu6"}


@pytest.mark.usefixtures("without_weights")
def test_stochastic_depth_grows_from_nothing_to_nearly_its_rate() -> None:
    image = keras.Input((32, 32, 3))
    features = EfficientNet().features(image, BlockStyle(), drop_rate=0.2)
    network = keras.Model(image, features[5])
    rates = {layer.name: layer.rate for layer in network.layers if layer.name.endswith("_drop")}
    # Residual blocks only: the second of each stage and later ones, of 16 in all.
    assert rates == pytest.approx(
        {
            "stage_1_block_1_drop": 0.2 * 2 / 16,
            "stage_2_block_1_drop": 0.2 * 4 / 16,
            "stage_3_block_1_drop": 0.2 * 6 / 16,
            "stage_3_block_2_drop": 0.2 * 7 / 16,
            "stage_4_block_1_drop": 0.2 * 9 / 16,
            "stage_4_block_2_drop": 0.2 * 10 / 16,
            "stage_5_block_1_drop": 0.2 * 12 / 16,
            "stage_5_block_2_drop": 0.2 * 13 / 16,
            "stage_5_block_3_drop": 0.2 * 14 / 16,
        }
    )
    plain = keras.Model(image, EfficientNet().features(image, BlockStyle())[5])
    assert not [layer.name for layer in plain.layers if layer.name.endswith("_drop")]


def test_compound_scaling_is_the_papers_equation_3() -> None:
    start = efficientnet_coefficients(0)
    assert (start.depth, start.width, start.resolution) == (1, 1, 1)
    double = efficientnet_coefficients(1)
    assert (double.depth, double.width, double.resolution) == (1.2, 1.1, 1.15)
    # Eq. 3's constraint: every step about doubles the multiply-adds.
    assert double.depth * double.width**2 * double.resolution**2 == pytest.approx(2, rel=0.05)
    assert efficientnet_coefficients(6).depth == pytest.approx(2.985984)
    # B1 is half a step, B6 six steps.
    assert efficientnet_coefficients(0.5).resolution * 224 == pytest.approx(240, rel=0.01)
    assert efficientnet_coefficients(6).resolution * 224 == pytest.approx(528, rel=0.02)


@pytest.mark.parametrize(
    ("channels", "rounded"),
    [(32, 32), (35.2, 32), (38.4, 40), (1, 8), (8.8, 8), (9.2, 16), (12, 16)],
)
def test_channels_round_to_eights_and_never_down_by_a_tenth(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded


def test_a_classifier_answers_with_logits_for_its_classes() -> None:
    keras.utils.set_random_seed(0)
    network = build_classifier("efficientnet-lite0", num_classes=7, size=40)
    images = np.random.default_rng(0).normal(size=(2, 40, 40, 3)).astype(np.float32)
    logits = np.asarray(network(images))
    assert logits.shape == (2, 7)
    assert (logits < 0).any()
    assert np.abs(logits[0] - logits[1]).max() > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "efficientnet-b8"}, "choose one of efficientnet-b0"),
        ({"name": "efficientnet-b0", "num_classes": 0}, "at least one class, not 0"),
        ({"name": "efficientnet-b0", "size": 0}, "must be positive, not 0"),
    ],
)
def test_classifiers_that_cannot_be_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        build_classifier(**arguments)  # type: ignore[arg-type]


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"no EfficientNet 'B0'; choose one of b0, b1"):
        efficientnet("B0")
