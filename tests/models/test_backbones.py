"""MobileNetV2 and ResNet: exact parameters, shapes, where the strides are."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import BlockStyle
from edgedet.models.graph import Tensor
from edgedet.models.mobilenet_v2 import MobileNetV2
from edgedet.models.resnet import ResNet


def _trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def _shapes(features: dict[int, Tensor]) -> dict[int, tuple[int, ...]]:
    return {level: tuple(tensor.shape[1:]) for level, tensor in features.items()}


@pytest.mark.usefixtures("without_weights")
def test_mobilenet_v2_is_exact_with_and_without_its_top_convolution() -> None:
    image = keras.Input((64, 96, 3))
    backbone = MobileNetV2()
    # Its blocks have no squeeze-and-excite, whatever the style says.
    style = BlockStyle("relu6", se_ratio=0.25)
    features = backbone.features(image, style)
    assert _shapes(features) == {
        1: (32, 48, 16),
        2: (16, 24, 24),
        3: (8, 12, 32),
        4: (4, 6, 96),
        5: (2, 3, 320),
    }
    assert _trainable(keras.Model(image, features)) == 1_811_712
    assert _trainable(keras.Model(image, backbone.top(features[5], style))) == 2_223_872


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("width", [0.35, 0.75, 1.4])
def test_mobilenet_v2_scales_as_keras_applications_does(width: float) -> None:
    image = keras.Input((32, 32, 3))
    backbone = MobileNetV2(width)
    top = backbone.top(backbone.features(image, BlockStyle("relu6"))[5], BlockStyle("relu6"))
    other = keras.applications.MobileNetV2((32, 32, 3), width, include_top=False, weights=None)
    assert _trainable(keras.Model(image, top)) == _trainable(other)
    assert top.shape == other.output.shape


# torchvision's totals less their 1000-class layer of 2 049 000 parameters.
@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(("depth", "params"), [(50, 23_508_032), (101, 42_500_160)])
def test_resnet_is_exact(depth: int, params: int) -> None:
    image = keras.Input((64, 96, 3))
    features = ResNet(depth).features(image, BlockStyle("relu"))
    assert _shapes(features) == {
        2: (16, 24, 256),
        3: (8, 12, 512),
        4: (4, 6, 1024),
        5: (2, 3, 2048),
    }
    assert _trainable(keras.Model(image, features)) == params


def test_resnet_strides_in_the_3x3_convolution_and_ends_activated() -> None:
    image = keras.Input((64, 64, 3))
    features = ResNet(50).features(image, BlockStyle("relu"))
    network = keras.Model(image, features)
    strided = [
        layer.name
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides != (1, 1)
    ]
    assert sorted(strided) == [
        *(
            f"stage_{stage}_block_0_{part}_conv"
            for stage in (1, 2, 3)
            for part in ("middle", "shortcut")
        ),
        "stem_conv",
    ]
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    for level, tensor in network(images).items():
        assert np.min(tensor) == 0, level
        assert np.max(tensor) > 0, level


def test_a_resnet_block_adds_its_branch_to_its_input() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    features = ResNet(50).features(image, BlockStyle("relu"))
    network = keras.Model(image, features[2])
    before = network.get_layer("stage_0_block_1_relu").output
    branch = network.get_layer("stage_0_block_2_expand_bn").output
    images = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    maps = keras.Model(image, [before, branch, features[2]])(images)
    x, y, after = (np.asarray(value) for value in maps)
    assert (y < 0).any()
    np.testing.assert_allclose(after, np.maximum(x + y, 0), rtol=1e-5, atol=1e-5)


def _drop_rates(backbone: MobileNetV2 | ResNet) -> list[float]:
    image = keras.Input((32, 32, 3))
    features = backbone.features(image, BlockStyle("relu6"), drop_rate=0.34)
    network = keras.Model(image, features)
    return sorted(layer.rate for layer in network.layers if layer.name.endswith("_drop"))


@pytest.mark.usefixtures("without_weights")
def test_stochastic_depth_grows_with_the_block() -> None:
    # Of 17 blocks of MobileNetV2, those with a shortcut; of 16 of ResNet-50, all but the first.
    residual = [2, 4, 5, 7, 8, 9, 11, 12, 14, 15]
    assert _drop_rates(MobileNetV2()) == pytest.approx([0.02 * block for block in residual])
    assert _drop_rates(ResNet(50)) == pytest.approx([0.34 * block / 16 for block in range(1, 16)])


def test_a_resnet_of_another_depth_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"no ResNet-34; choose a depth of 50 or 101"):
        ResNet(34)
