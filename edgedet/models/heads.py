"""RetinaNet heads of separable convolutions, shared over the levels, normalized per level."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
from keras import layers

from edgedet.models.blocks import BlockStyle, conv_init, depthwise_init
from edgedet.models.graph import Tensor

# Focal loss starts from a foreground probability of 0.01 (RetinaNet, section 4.1).
CLASS_BIAS = -math.log((1 - 0.01) / 0.01)


class _SeparableConv:
    """Depthwise 3x3 and pointwise convolution with bias, one set of weights for every call."""

    def __init__(self, channels: int, name: str, *, bias: float = 0.0, final: bool = False) -> None:
        self.depthwise = layers.DepthwiseConv2D(
            3,
            padding="same",
            use_bias=False,
            depthwise_initializer=depthwise_init(3),
            name=f"{name}_depthwise",
        )
        # A predictor starts near zero, so that the class bias decides the first probabilities.
        self.pointwise = layers.Conv2D(
            channels,
            1,
            kernel_initializer=keras.initializers.RandomNormal(0.0, 0.01) if final else conv_init(),
            bias_initializer=keras.initializers.Constant(bias),
            name=f"{name}_pointwise",
        )

    def __call__(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


def head(
    features: Mapping[int, Tensor],
    channels: int,
    name: str,
    *,
    style: BlockStyle,
    depth: int,
    width: int,
    bias: float = 0.0,
) -> dict[str, Tensor]:
    """Build one head on every level (EfficientDet, section 4.1; RetinaNet, section 4).

    Args:
        features: tensors [batch, rows, columns, width] by level.
        channels: outputs per location: anchors * classes, or anchors * 4.
        name: prefix of the outputs, `class` or `box`.
        style: activation.
        depth: separable convolutions before the predictor.
        width: their channels.
        bias: start of the predictor's bias.

    Returns:
        `{name}_{level}`: tensor [batch, rows, columns, channels] of raw logits or codes.
    """
    convolutions = [_SeparableConv(width, f"{name}_head_{index}") for index in range(depth)]
    predictor = _SeparableConv(channels, f"{name}_predictor", bias=bias, final=True)
    outputs = {}
    for level, x in features.items():
        for index, convolution in enumerate(convolutions):
            x = style.norm(convolution(x), f"{name}_head_{index}_level_{level}", active=True)
        # The identity carries the output's name into exported files.
        outputs[f"{name}_{level}"] = layers.Identity(name=f"{name}_{level}")(predictor(x))
    return outputs
