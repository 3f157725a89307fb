"""ImageNet-style classifiers on the backbones, to train a backbone or to import its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
from keras import layers

from edgedet.errors import InvalidInputError
from edgedet.models import eff_spinenet
from edgedet.models.blocks import BlockStyle
from edgedet.models.efficientnet import EfficientNet, efficientnet, efficientnet_variants
from edgedet.models.graph import Tensor

DROP_RATE = 0.2
"""Stochastic depth of the last block, as in EfficientNet's reference implementation."""

Body = Callable[[Tensor], Tensor]
"""Image [batch, rows, columns, 3] -> the map that the classifier averages."""


@dataclass(frozen=True)
class Classifier:
    """A classifier without its number of classes.

    Attributes:
        body: builds all up to the global average.
        size: side of the square input in pixels.
        dropout: rate between the average and the logits.
    """

    body: Body
    size: int
    dropout: float


def _efficientnet_body(image: Tensor, *, backbone: EfficientNet) -> Tensor:
    style = BlockStyle(activation="relu6" if backbone.lite else "swish")
    features = backbone.features(image, style, drop_rate=DROP_RATE)
    return backbone.top(features[5], style)


def _eff_spinenet_body(image: Tensor, *, variant: str) -> Tensor:
    return eff_spinenet.classifier_map(image, BlockStyle(), variant, drop_rate=DROP_RATE)


CLASSIFIERS = {
    f"efficientnet-{name}": Classifier(
        partial(_efficientnet_body, backbone=efficientnet(name).backbone),
        efficientnet(name).size,
        efficientnet(name).dropout,
    )
    for name in efficientnet_variants()
} | {
    eff_spinenet.full_name(name): Classifier(
        partial(_eff_spinenet_body, variant=name),
        variant.classifier_size,
        variant.classifier_dropout,
    )
    for name, variant in eff_spinenet.VARIANTS.items()
}


def build_classifier(name: str, num_classes: int = 1000, size: int | None = None) -> keras.Model:
    """Build a classifier with fresh weights.

    Args:
        name: efficientnet-b0 to -b7, efficientnet-lite0 to -lite4, eff-spinenet-m0 to -m2 and -d0
            to -d2, or sp-efficientnet-b0.
        num_classes: width of the output.
        size: side of the square input in pixels; the published one by default. No weight depends
            on it.

    Returns:
        A functional model from normalized images [batch, size, size, 3] to logits
        [batch, num_classes]; the softmax is left to the loss.

    Raises:
        InvalidInputError: unknown name, or a number out of range.
    """
    if name not in CLASSIFIERS:
        raise InvalidInputError(
            f"There is no classifier {name!r}; choose one of {', '.join(CLASSIFIERS)}."
        )
    classifier = CLASSIFIERS[name]
    side = classifier.size if size is None else size
    if num_classes < 1:
        raise InvalidInputError(f"A classifier needs at least one class, not {num_classes}.")
    if side < 1:
        raise InvalidInputError(f"The input size must be positive, not {side}.")
    image = keras.Input((side, side, 3), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(classifier.body(image))
    x = layers.Dropout(classifier.dropout, name="dropout")(x)
    logits = layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform"),
        name="predictions",
    )(x)
    return keras.Model(image, logits, name=name.replace("-", "_"))
