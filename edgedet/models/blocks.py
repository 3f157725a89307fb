"""Building blocks shared by the networks: normalized convolutions, MBConv, resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from edgedet.models.dropblock import DropBlock
from edgedet.models.graph import Feature, Tensor
from edgedet.models.layers import (
    BatchNormalization,
    NearestUpsampling,
    StochasticDepth,
    WeightedFusion,
)

ACTIVATIONS = ("swish", "hard_swish", "relu6", "relu")


def conv_init() -> keras.initializers.Initializer:
    """EfficientNet's kernel initializer: normal with variance 2 / fan out."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def depthwise_init(kernel: int) -> keras.initializers.Initializer:
    """The same for a depthwise kernel, whose fan out is its area alone."""
    # Keras counts the channels into the fan of a depthwise kernel: such a start is far too small.
    return keras.initializers.RandomNormal(0.0, (2.0 / kernel**2) ** 0.5)


@dataclass(frozen=True)
class BlockStyle:
    """What all blocks of one network share.

    Attributes:
        activation: one of `ACTIVATIONS`.
        se_ratio: squeeze-and-excite width as a part of the block's input width; 0 leaves SE out.
        se_activation: activation inside squeeze-and-excite; `activation` if None.
        se_gate: activation of the gate of squeeze-and-excite.
        space_to_depth: whether down-sampling by two levels or more starts with space-to-depth.
        weighted_fusion: whether fused maps get learned weights; plain sums otherwise.
        drop_block: part of the features that DropBlock zeroes behind every normalization.
    """

    activation: str = "swish"
    se_ratio: float = 0.2
    se_activation: str | None = None
    se_gate: str = "sigmoid"
    space_to_depth: bool = True
    weighted_fusion: bool = True
    drop_block: float = 0.0

    def activate(self, x: Tensor, name: str, activation: str | None = None) -> Tensor:
        """Apply the activation, or another one."""
        activation = activation or self.activation
        return layers.Activation(activation, name=f"{name}_{activation}")(x)

    def norm(self, x: Tensor, name: str, *, active: bool) -> Tensor:
        """Batch normalization (momentum 0.99, epsilon 1e-3), then the activation if `active`."""
        x = BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
        if self.drop_block:
            x = DropBlock(self.drop_block, name=f"{name}_drop_block")(x)
        return self.activate(x, name) if active else x

    def conv(
        self,
        x: Tensor,
        channels: int,
        name: str,
        *,
        kernel: int = 1,
        stride: int = 1,
        use_bias: bool = False,
        active: bool = False,
    ) -> Tensor:
        """Convolution and its normalization; some papers keep the bias, which then does nothing."""
        x = layers.Conv2D(
            channels,
            kernel,
            strides=stride,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=conv_init(),
            name=f"{name}_conv",
        )(x)
        return self.norm(x, name, active=active)

    def plain_conv(self, x: Tensor, channels: int, name: str) -> Tensor:
        """1x1 convolution with bias and nothing behind it."""
        return layers.Conv2D(channels, 1, kernel_initializer=conv_init(), name=f"{name}_conv")(x)

    def separable(self, x: Tensor, channels: int, name: str, *, stride: int = 1) -> Tensor:
        """Depthwise 3x3 and 1x1 convolution with bias, normalized once, at the end."""
        x = layers.DepthwiseConv2D(
            3,
            strides=stride,
            padding="same",
            use_bias=False,
            depthwise_initializer=depthwise_init(3),
            name=f"{name}_depthwise",
        )(x)
        return self.conv(x, channels, name, use_bias=True)

    def depthwise(self, x: Tensor, name: str, *, kernel: int = 3, stride: int = 1) -> Tensor:
        """Depthwise convolution, normalization and activation."""
        x = layers.DepthwiseConv2D(
            kernel,
            strides=stride,
            padding="same",
            use_bias=False,
            depthwise_initializer=depthwise_init(kernel),
            name=f"{name}_depthwise",
        )(x)
        return self.norm(x, name, active=True)

    def squeeze_excite(self, x: Tensor, reduced: int, name: str) -> Tensor:
        """Squeeze-and-excite with `reduced` hidden units (Hu et al. 2018)."""
        expanded = int(x.shape[-1])
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
        # Few hidden units, often one: by their fan out they would start saturated, and a rectified
        # one that starts below zero gets no gradient, ever.
        gate = layers.Conv2D(
            reduced,
            1,
            kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in"),
            bias_initializer="ones",
            name=f"{name}_reduce",
        )(gate)
        gate = self.activate(gate, f"{name}_reduce", self.se_activation)
        gate = layers.Conv2D(
            expanded,
            1,
            activation=self.se_gate,
            kernel_initializer=conv_init(),
            name=f"{name}_excite",
        )(gate)
        return layers.Multiply(name=f"{name}_scale")([x, gate])

    def mbconv(
        self,
        x: Tensor,
        channels: int,
        name: str,
        *,
        kernel: int = 3,
        stride: int = 1,
        expand: int = 6,
        drop_rate: float = 0.0,
    ) -> Tensor:
        """Inverted bottleneck (MobileNetV2; EfficientNet, section 4), linear at its end."""
        width = int(x.shape[-1])
        y = x
        if expand != 1:
            y = self.conv(y, width * expand, f"{name}_expand", active=True)
        y = self.depthwise(y, name, kernel=kernel, stride=stride)
        if self.se_ratio:
            y = self.squeeze_excite(y, max(1, int(self.se_ratio * width)), f"{name}_se")
        y = self.conv(y, channels, f"{name}_project")
        if stride == 1 and width == channels:
            if drop_rate:
                y = StochasticDepth(drop_rate, name=f"{name}_drop")(y)
            y = layers.Add(name=f"{name}_add")([x, y])
        return y

    def resample(
        self,
        feature: Feature,
        level: int,
        channels: int,
        name: str,
        *,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Bring a feature to `level` and `channels` (Eff-SpineNet, Fig. 2).

        Up: 1x1 convolution, then nearest neighbour (the same function as the other order, with
        fewer multiply-adds). Down by one level: depthwise stride 2, then 1x1. Down by more:
        space-to-depth with its 1x1 convolution, depthwise stride 2 for each further level, 1x1.
        Without `space_to_depth` ("model 1" of Table 9), depthwise stride 2 for every level, 1x1.
        An up-sampled map is cut to `size`, (rows, columns), if given.
        """
        x = feature.tensor
        down = level - feature.level
        if down <= 0:
            x = self.conv(x, channels, name)
            if down < 0:
                factor = 2**-down
                x = NearestUpsampling(factor, size=size, name=f"{name}_up")(x)
            return x
        if down > 1 and self.space_to_depth:
            # A 2x2 convolution of stride 2 is space-to-depth(2) followed by a 1x1 convolution:
            # the same weights, the same sums, without the shuffle.
            x = self.conv(x, feature.channels, f"{name}_s2d", kernel=2, stride=2, active=True)
            down -= 1
        for step in range(down):
            x = self.depthwise(x, f"{name}_down{step}", stride=2)
        return self.conv(x, channels, name)

    def fuse(self, features: Sequence[Feature], op: str, name: str) -> Tensor:
        """Weighted fusion or a plain sum (`op` "sum"), and the activation."""
        if op != "sum":
            raise ValueError(f"unknown fusion {op!r}")
        tensors = [feature.tensor for feature in features]
        merge = WeightedFusion(name=name) if self.weighted_fusion else layers.Add(name=name)
        return self.activate(merge(tensors), name)
