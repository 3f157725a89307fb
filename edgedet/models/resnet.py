"""ResNet (He et al. 2016): the backbone of the RetinaNet and NAS-FPN detectors."""

from __future__ import annotations

from dataclasses import dataclass

from keras import layers

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import BlockStyle
from edgedet.models.graph import Tensor
from edgedet.models.layers import StochasticDepth

# Blocks of the stages at levels 2 to 5 (Table 1 of the paper).
REPEATS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
STEM_CHANNELS = 64
EXPANSION = 4
"""Width of a block's output in widths of its 3x3 convolution."""


@dataclass(frozen=True)
class ResNet:
    """A ResNet backbone of bottleneck blocks; its activation is relu.

    The stride of a block is in its 3x3 convolution, as in the published detectors; the paper has
    it in the first 1x1, with the same number of parameters.

    Attributes:
        depth: 50 or 101.

    Raises:
        InvalidInputError: there is no ResNet of that depth.
    """

    depth: int = 50

    def __post_init__(self) -> None:
        if self.depth not in REPEATS:
            raise InvalidInputError(
                f"There is no ResNet-{self.depth}; choose a depth of "
                f"{' or '.join(str(depth) for depth in REPEATS)}."
            )

    def features(
        self, image: Tensor, style: BlockStyle, *, drop_rate: float = 0.0
    ) -> dict[int, Tensor]:
        """Build the backbone on `image` [batch, rows, columns, 3]; features by level, 2 to 5.

        A feature is the last map of its stride, activated: 256, 512, 1024 and 2048 channels.

        Args:
            image: normalized images.
            style: activation.
            drop_rate: stochastic depth; block i of n drops its branch with `drop_rate * i / n`.
        """
        x = style.conv(image, STEM_CHANNELS, "stem", kernel=7, stride=2, active=True)
        x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
        repeats = REPEATS[self.depth]
        features: dict[int, Tensor] = {}
        block = 0
        for index, count in enumerate(repeats):
            for repeat in range(count):
                x = _bottleneck(
                    x,
                    STEM_CHANNELS * 2**index,
                    f"stage_{index}_block_{repeat}",
                    style=style,
                    stride=2 if index and repeat == 0 else 1,
                    drop_rate=drop_rate * block / sum(repeats),
                )
                block += 1
            features[index + 2] = x
        return features


def _bottleneck(
    x: Tensor, width: int, name: str, *, style: BlockStyle, stride: int, drop_rate: float
) -> Tensor:
    """1x1, 3x3 and 1x1 convolution with a shortcut, projected where the shape changes (Fig. 5)."""
    channels = width * EXPANSION
    shortcut = x
    if stride != 1 or int(x.shape[-1]) != channels:
        shortcut = style.conv(x, channels, f"{name}_shortcut", stride=stride)
    y = style.conv(x, width, f"{name}_reduce", active=True)
    y = style.conv(y, width, f"{name}_middle", kernel=3, stride=stride, active=True)
    y = style.conv(y, channels, f"{name}_expand")
    if drop_rate:
        y = StochasticDepth(drop_rate, name=f"{name}_drop")(y)
    y = layers.Add(name=f"{name}_add")([shortcut, y])
    return style.activate(y, name)
