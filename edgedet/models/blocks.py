"""Building blocks shared by the networks: normalized convolutions, MBConv, resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from edgedet.models.graph import Feature, Tensor
from edgedet.models.layers import NearestUpsampling, StochasticDepth, WeightedFusion

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
    """

    activation: str = "swish"
    se_ratio: float = 0.2

    def activate(self, x: Tensor, name: str) -> Tensor:
        """Apply the activation."""
        return layers.Activation(self.activation, name=f"{name}_{self.activation}")(x)

    def norm(self, x: Tensor, name: str, *, active: bool) -> Tensor:
        """Batch normalization (momentum 0.99, epsilon 1e-3), then the activation if `active`."""
        x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
        return self.activate(x, name) if active else x

    def conv(
        self,
        x: Tensor,
        channels: int,
        name: str,
        *,
        kernel: int = 1,
        stride: int = 1,
        active: bool = False,
    ) -> Tensor:
        """Convolution without bias and its normalization."""
        x = layers.Conv2D(
            channels,
            kernel,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=conv_init(),
            name=f"{name}_conv",
        )(x)
        return self.norm(x, name, active=active)

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
        """Squeeze-and-excite with `reduced` hidden units and a sigmoid gate (Hu et al. 2018)."""
        expanded = int(x.shape[-1])
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
        gate = layers.Conv2D(reduced, 1, kernel_initializer=conv_init(), name=f"{name}_reduce")(
            gate
        )
        gate = self.activate(gate, f"{name}_reduce")
        gate = layers.Conv2D(
            expanded,
            1,
            activation="sigmoid",
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

    def resample(self, feature: Feature, level: int, channels: int, name: str) -> Tensor:
        """Bring a feature to `level` and `channels` (Eff-SpineNet, Fig. 2).

        Up: 1x1 convolution, then nearest neighbour (the same function as the other order, with
        fewer multiply-adds). Down by one level: depthwise stride 2, then 1x1. Down by more:
        space-to-depth with its 1x1 convolution, depthwise stride 2 for each further level, 1x1.
        """
        x = feature.tensor
        down = level - feature.level
        if down <= 0:
            x = self.conv(x, channels, name)
            if down < 0:
                factor = 2**-down
                x = NearestUpsampling(factor, name=f"{name}_up")(x)
            return x
        if down > 1:
            # A 2x2 convolution of stride 2 is space-to-depth(2) followed by a 1x1 convolution:
            # the same weights, the same sums, without the shuffle.
            x = self.conv(x, feature.channels, f"{name}_s2d", kernel=2, stride=2, active=True)
            down -= 1
        for step in range(down):
            x = self.depthwise(x, f"{name}_down{step}", stride=2)
        return self.conv(x, channels, name)

    def fuse(self, tensors: Sequence[Tensor], op: str, name: str) -> Tensor:
        """Fast normalized fusion (`op` "sum") and the activation."""
        if op != "sum":
            raise ValueError(f"unknown fusion {op!r}")
        return self.activate(WeightedFusion(name=name)(list(tensors)), name)
