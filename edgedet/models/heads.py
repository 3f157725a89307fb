"""RetinaNet heads, shared over the levels, normalized per level."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
from keras import layers

from edgedet.models.blocks import BlockStyle, conv_init, depthwise_init
from edgedet.models.graph import Tensor

# Focal loss starts from a foreground probability of 0.01 (RetinaNet, section 4.1).
CLASS_BIAS = -math.log((1 - 0.01) / 0.01)


class _Conv:
    """3x3 convolution with bias, full or separable, one set of weights for every call."""

    def __init__(
        self, channels: int, name: str, *, separable: bool, bias: float = 0.0, final: bool = False
    ) -> None:
        # A predictor starts near zero, so that the class bias decides the first probabilities.
        initializer = keras.initializers.RandomNormal(0.0, 0.01) if final else conv_init()
        # In low precision the gradient of a predictor's bias, a sum over all places, would stall.
        dtype = "float32" if final else None
        self.layers = [
            layers.Conv2D(
                channels,
                1 if separable else 3,
                padding="same",
                kernel_initializer=initializer,
                bias_initializer=keras.initializers.Constant(bias),
                dtype=dtype,
                name=f"{name}_pointwise" if separable else f"{name}_conv",
            )
        ]
        if separable:
            depthwise = layers.DepthwiseConv2D(
                3,
                padding="same",
                use_bias=False,
                depthwise_initializer=depthwise_init(3),
                name=f"{name}_depthwise",
            )
            self.layers.insert(0, depthwise)

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Head:
    """One head (EfficientDet, section 4.1; RetinaNet, section 4): its convolutions and predictor.

    Args:
        name: prefix of the outputs, `class` or `box`.
        channels: outputs per location: anchors * classes, or anchors * 4.
        style: activation.
        depth: convolutions before the predictor.
        width: their channels.
        separable: separable convolutions, as in all papers but RetinaNet's and NAS-FPN's.
        bias: start of the predictor's bias.
    """

    def __init__(
        self,
        name: str,
        channels: int,
        *,
        style: BlockStyle,
        depth: int,
        width: int,
        separable: bool = True,
        bias: float = 0.0,
    ) -> None:
        self.name = name
        self.style = style
        self.convolutions = [
            _Conv(width, f"{name}_head_{index}", separable=separable) for index in range(depth)
        ]
        self.predictor = _Conv(
            channels, f"{name}_predictor", separable=separable, bias=bias, final=True
        )

    def __call__(
        self, features: Mapping[int, Tensor], *, stack: int | None = None, early: bool = False
    ) -> dict[str, Tensor]:
        """Apply the head to every level.

        Args:
            features: tensors [batch, rows, columns, width] by level.
            stack: the pyramid, from 1, that the features come from, where heads follow several:
                they share convolutions, and have normalizations of their own.
            early: whether a later pyramid's heads are the network's own.

        Returns:
            `{name}_{level}`, or `exit_{stack}_{name}_{level}` of an early exit: tensor [batch,
            rows, columns, channels] of raw logits or codes.
        """
        at = "" if stack is None else f"_stack_{stack}"
        before = f"exit_{stack}_" if early else ""
        outputs = {}
        for level, x in features.items():
            for index, convolution in enumerate(self.convolutions):
                name = f"{self.name}_head_{index}{at}_level_{level}"
                x = self.style.norm(convolution(x), name, active=True)
            # The identity carries the output's name into exported files.
            output = f"{before}{self.name}_{level}"
            outputs[output] = layers.Identity(dtype="float32", name=output)(self.predictor(x))
        return outputs
