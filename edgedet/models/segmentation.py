"""Semantic segmentation on the detectors' features, as Eff-SpineNet and EfficientDet have it.

Both papers describe a few separable convolutions and a prediction for every cell of one map; the
details that they leave open are those of the detectors' heads here: depthwise 3x3 and 1x1 with
bias, normalization and activation, and a predictor of the same form without the last two.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import ops

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import BlockStyle
from edgedet.models.eff_spinenet import average_features, variant
from edgedet.models.efficientnet import efficientnet
from edgedet.models.graph import Tensor
from edgedet.models.heads import Head
from edgedet.models.pyramids import BiFPN

VOC_CLASSES = 21
"""Classes of PASCAL VOC 2012 with the background, on which both papers report."""


def eff_spinenet_segmentation_head(
    features: Mapping[int, Tensor],
    num_classes: int,
    *,
    style: BlockStyle,
    depth: int = 3,
    width: int = 64,
) -> Tensor:
    """Eff-SpineNet's head (Du et al. 2020, section 4.3): all levels averaged at the finest one.

    The paper up-samples by nearest neighbour and averages, then takes the layers and the width of
    the detector's subnets (Table 2). It does not say what the predictor is.

    Args:
        features: maps [batch, rows, columns, channels] of one width by level, P3 to P7.
        num_classes: number of classes, the background among them.
        style: activation.
        depth: separable convolutions before the predictor.
        width: their channels.

    Returns:
        Logits [batch, rows, columns, num_classes] at the finest level.

    Raises:
        InvalidInputError: no features, or no class.
    """
    if not features:
        raise InvalidInputError("A segmentation head needs at least one feature map.")
    return _logits(min(features), average_features(features), num_classes, style, depth, width)


def efficientdet_segmentation_head(
    features: Mapping[int, Tensor],
    num_classes: int,
    *,
    style: BlockStyle,
    depth: int = 3,
    width: int = 256,
) -> Tensor:
    """EfficientDet's head (Tan et al. 2020, section 5.2): P2 alone, 3 convolutions of 256.

    The paper says that the classification head has 256 channels and "is repeated by 3 times", not
    of what layers: as in its detectors they are separable here. Full ones would, at 512x512, alone
    cost more multiply-adds than the paper prints for the whole network.

    Args:
        features: maps [batch, rows, columns, channels] by level; P2 must be among them.
        num_classes: number of classes, the background among them.
        style: activation.
        depth: separable convolutions before the predictor.
        width: their channels.

    Returns:
        Logits [batch, rows, columns, num_classes] at P2.

    Raises:
        InvalidInputError: no P2, or no class.
    """
    if 2 not in features:
        raise InvalidInputError(
            f"EfficientDet's segmentation head needs P2; the features are of levels "
            f"{sorted(features)}."
        )
    return _logits(2, features[2], num_classes, style, depth, width)


def eff_spinenet_segmenter(
    name: str,
    num_classes: int = VOC_CLASSES,
    size: int = 512,
    *,
    style: BlockStyle | None = None,
    full_size: bool = False,
    drop_rate: float = 0.0,
    batch_size: int | None = None,
) -> keras.Model:
    """Build Eff-SpineNet for semantic segmentation (Du et al. 2020, section 4.3).

    The backbone is the detector's, space-to-depth included, since the paper starts from detectors
    trained on COCO; its input is 512x512 for every variant (section 5.3).

    Args:
        name: a variant of `edgedet.models.eff_spinenet`; the paper reports d0 and d2.
        num_classes: number of classes, the background among them.
        size: side of the square input in pixels.
        style: activation; swish by default.
        full_size: whether the logits are resized to the input, bilinearly. The paper leaves open
            where that happens; by default it is left to the loss and to the evaluation.
        drop_rate: stochastic depth of the last block.
        batch_size: fixed batch, for exports; any batch by default.

    Returns:
        A functional model from normalized images [batch, size, size, 3] to logits [batch,
        size / 8, size / 8, num_classes], or [batch, size, size, num_classes].

    Raises:
        InvalidInputError: unknown variant, or a number that is not positive.
    """
    chosen = variant(name)
    style = style or BlockStyle()
    image = _image(size, batch_size)
    features = chosen.backbone.features(image, style, drop_rate=drop_rate)
    logits = eff_spinenet_segmentation_head(
        features,
        num_classes,
        style=style,
        depth=chosen.head_layers,
        width=chosen.backbone.feature_width,
    )
    return _segmenter(image, logits, full_size, f"eff_spinenet_{name}_segmenter")


def efficientdet_segmenter(
    backbone: str = "b4",
    num_classes: int = VOC_CLASSES,
    size: int = 512,
    *,
    pyramid: BiFPN | None = None,
    style: BlockStyle | None = None,
    full_size: bool = False,
    drop_rate: float = 0.0,
    batch_size: int | None = None,
) -> keras.Model:
    """Build EfficientDet for semantic segmentation (Tan et al. 2020, section 5.2).

    EfficientNet-B4, a BiFPN of 3 stacks and 128 channels over P2 to P7, and a head on P2. The
    paper does not print the input's size; its 18 B multiply-adds are those of about 620x620.

    Args:
        backbone: an EfficientNet, b0 to b7 or lite0 to lite4.
        num_classes: number of classes, the background among them.
        size: side of the square input in pixels.
        pyramid: 3 stacks of 128 channels by default.
        style: activation; swish by default.
        full_size: whether the logits are resized to the input, bilinearly. The paper leaves open
            where that happens; by default it is left to the loss and to the evaluation.
        drop_rate: stochastic depth of the last block.
        batch_size: fixed batch, for exports; any batch by default.

    Returns:
        A functional model from normalized images [batch, size, size, 3] to logits [batch,
        size / 4, size / 4, num_classes], or [batch, size, size, num_classes].

    Raises:
        InvalidInputError: unknown backbone, or a number that is not positive.
    """
    style = style or BlockStyle()
    image = _image(size, batch_size)
    maps = efficientnet(backbone).backbone.features(image, style, drop_rate=drop_rate)
    features = (pyramid or BiFPN(128, 3)).features(maps, range(2, 8), style)[-1]
    logits = efficientdet_segmentation_head(features, num_classes, style=style)
    return _segmenter(image, logits, full_size, f"efficientdet_{backbone}_segmenter")


def _logits(
    level: int, x: Tensor, num_classes: int, style: BlockStyle, depth: int, width: int
) -> Tensor:
    if num_classes < 1:
        raise InvalidInputError(f"Segmentation needs at least one class, not {num_classes}.")
    head = Head("segmentation", num_classes, style=style, depth=depth, width=width)
    return head({level: x})[f"segmentation_{level}"]


def _image(size: int, batch_size: int | None) -> Tensor:
    if size < 1:
        raise InvalidInputError(f"The input size must be positive, not {size}.")
    return keras.Input((size, size, 3), batch_size=batch_size, name="image")


def _segmenter(image: Tensor, logits: Tensor, full_size: bool, name: str) -> keras.Model:
    if full_size:
        logits = ops.image.resize(
            logits, image.shape[1:3], interpolation="bilinear", data_format="channels_last"
        )
    return keras.Model(image, logits, name=name.replace("-", "_"))
