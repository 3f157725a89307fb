"""EfficientNet (Tan and Le 2019) and EfficientNet-Lite: backbones, compound scaling, variants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import BlockStyle
from edgedet.models.graph import Tensor
from edgedet.models.normalization import IMAGENET, LITE, Normalization

SE_RATIO = 0.25
"""Squeeze-and-excite width as a part of the block's input width."""


@dataclass(frozen=True)
class Stage:
    """A run of MBConv blocks of one width.

    Attributes:
        repeats: number of blocks.
        kernel: side of the depthwise kernel.
        stride: 1 or 2, of the first block; the others have 1.
        expand: expansion of the depthwise width.
        channels: width of every block's output.
    """

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


# Table 1 of the paper: EfficientNet-B0.
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
TOP_CHANNELS = 1280


def round_channels(channels: float) -> int:
    """Round to the nearest multiple of 8, at least 8, never down by more than 10%."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def round_repeats(repeats: float) -> int:
    """Round a number of blocks up."""
    return math.ceil(repeats)


@dataclass(frozen=True)
class Coefficients:
    """Multipliers of a compound scale: `depth` of repeats, `width` of channels, `resolution`."""

    depth: float
    width: float
    resolution: float


def efficientnet_coefficients(phi: float) -> Coefficients:
    """Compound scaling of B0 by `phi` (EfficientNet, Eq. 3 with the constants of section 4.1).

    Each step of `phi` about doubles the multiply-adds. The published variants round what comes out
    (`efficientnet`).
    """
    return Coefficients(depth=1.2**phi, width=1.1**phi, resolution=1.15**phi)


def mbconv_stages(
    x: Tensor, stages: Sequence[Stage], style: BlockStyle, drop_rate: float
) -> dict[int, Tensor]:
    """Build stages on the stem's output `x`, level 1; the last map of each level, 1 and up.

    Block i of n is named `stage_{s}_block_{b}` and drops its branch with `drop_rate * i / n`.
    """
    total = sum(stage.repeats for stage in stages)
    features: dict[int, Tensor] = {}
    level, block = 1, 0
    for index, stage in enumerate(stages):
        level += stage.stride - 1
        for repeat in range(stage.repeats):
            x = style.mbconv(
                x,
                stage.channels,
                f"stage_{index}_block_{repeat}",
                kernel=stage.kernel,
                stride=stage.stride if repeat == 0 else 1,
                expand=stage.expand,
                drop_rate=drop_rate * block / total,
            )
            block += 1
        features[level] = x
    return features


@dataclass(frozen=True)
class EfficientNet:
    """An EfficientNet backbone.

    Attributes:
        width: multiplier of the channels.
        depth: multiplier of the blocks per stage.
        lite: EfficientNet-Lite: no squeeze-and-excite; the stem, the top and the numbers of blocks
            of the first and last stage are not scaled. Its activation is relu6.
        se_ratio: squeeze-and-excite width as a part of a block's input width; 0 leaves SE out.
    """

    width: float = 1.0
    depth: float = 1.0
    lite: bool = False
    se_ratio: float = SE_RATIO

    def __post_init__(self) -> None:
        if self.lite:
            object.__setattr__(self, "se_ratio", 0.0)

    @property
    def normalization(self) -> Normalization:
        """What the published weights expect of the input."""
        return LITE if self.lite else IMAGENET

    @property
    def top_channels(self) -> int:
        """Width of the 1x1 convolution between the last stage and a classifier."""
        return TOP_CHANNELS if self.lite else round_channels(self.width * TOP_CHANNELS)

    def stages(self) -> tuple[Stage, ...]:
        """The stages of `STAGES`, scaled."""
        ends = (0, len(STAGES) - 1)
        return tuple(
            replace(
                stage,
                repeats=stage.repeats
                if self.lite and index in ends
                else round_repeats(self.depth * stage.repeats),
                channels=round_channels(self.width * stage.channels),
            )
            for index, stage in enumerate(STAGES)
        )

    def features(
        self, image: Tensor, style: BlockStyle, *, drop_rate: float = 0.0
    ) -> dict[int, Tensor]:
        """Build the backbone on `image` [batch, rows, columns, 3]; features by level, 1 to 5.

        A feature is the last map of its stride, linear (without activation).

        Args:
            image: normalized images.
            style: activation; the width of squeeze-and-excite is EfficientNet's own.
            drop_rate: stochastic depth; block i of n drops its branch with `drop_rate * i / n`.
        """
        style = replace(style, se_ratio=self.se_ratio)
        stem = STEM_CHANNELS if self.lite else round_channels(self.width * STEM_CHANNELS)
        x = style.conv(image, stem, "stem", kernel=3, stride=2, active=True)
        return mbconv_stages(x, self.stages(), style, drop_rate)

    def top(self, x: Tensor, style: BlockStyle) -> Tensor:
        """The classifier's 1x1 convolution on the map of level 5, normalized and activated."""
        return style.conv(x, self.top_channels, "top", active=True)


@dataclass(frozen=True)
class EfficientNetVariant:
    """A published EfficientNet.

    Attributes:
        backbone: the network.
        size: side of the square input in pixels.
        dropout: rate before the classifier.
    """

    backbone: EfficientNet
    size: int
    dropout: float


# The reference implementation's rounding of the compound scale: width, depth, size, dropout.
_VARIANTS = {
    "b0": EfficientNetVariant(EfficientNet(1.0, 1.0), 224, 0.2),
    "b1": EfficientNetVariant(EfficientNet(1.0, 1.1), 240, 0.2),
    "b2": EfficientNetVariant(EfficientNet(1.1, 1.2), 260, 0.3),
    "b3": EfficientNetVariant(EfficientNet(1.2, 1.4), 300, 0.3),
    "b4": EfficientNetVariant(EfficientNet(1.4, 1.8), 380, 0.4),
    "b5": EfficientNetVariant(EfficientNet(1.6, 2.2), 456, 0.4),
    "b6": EfficientNetVariant(EfficientNet(1.8, 2.6), 528, 0.5),
    "b7": EfficientNetVariant(EfficientNet(2.0, 3.1), 600, 0.5),
    "lite0": EfficientNetVariant(EfficientNet(1.0, 1.0, lite=True), 224, 0.2),
    "lite1": EfficientNetVariant(EfficientNet(1.0, 1.1, lite=True), 240, 0.2),
    "lite2": EfficientNetVariant(EfficientNet(1.1, 1.2, lite=True), 260, 0.3),
    "lite3": EfficientNetVariant(EfficientNet(1.2, 1.4, lite=True), 280, 0.3),
    "lite4": EfficientNetVariant(EfficientNet(1.4, 1.8, lite=True), 300, 0.3),
}


def efficientnet_variants() -> tuple[str, ...]:
    """Names that `efficientnet` takes: b0 to b7 and lite0 to lite4."""
    return tuple(_VARIANTS)


def efficientnet(variant: str) -> EfficientNetVariant:
    """The published EfficientNet called `variant`.

    Raises:
        InvalidInputError: there is none.
    """
    if variant not in _VARIANTS:
        raise InvalidInputError(
            f"There is no EfficientNet {variant!r}; choose one of {', '.join(_VARIANTS)}."
        )
    return _VARIANTS[variant]
