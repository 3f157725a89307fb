"""MobileNetV2 (Sandler et al. 2018): the backbone of the mobile NAS-FPN detectors."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgedet.models.blocks import BlockStyle
from edgedet.models.efficientnet import Stage, mbconv_stages, round_channels
from edgedet.models.graph import Tensor

# Table 2 of the paper.
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 3, 2, 6, 32),
    Stage(4, 3, 2, 6, 64),
    Stage(3, 3, 1, 6, 96),
    Stage(3, 3, 2, 6, 160),
    Stage(1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
TOP_CHANNELS = 1280


@dataclass(frozen=True)
class MobileNetV2:
    """A MobileNetV2 backbone; its activation is relu6.

    Attributes:
        width: multiplier of the channels.
    """

    width: float = 1.0

    @property
    def top_channels(self) -> int:
        """Width of the 1x1 convolution between the last stage and a classifier.

        Section 4: a multiplier below one doesn't narrow it.
        """
        return round_channels(max(1.0, self.width) * TOP_CHANNELS)

    def features(
        self, image: Tensor, style: BlockStyle, *, drop_rate: float = 0.0
    ) -> dict[int, Tensor]:
        """Build the backbone on `image` [batch, rows, columns, 3]; features by level, 1 to 5.

        A feature is the last map of its stride, linear (without activation).

        Args:
            image: normalized images.
            style: activation; MobileNetV2 has no squeeze-and-excite whatever the style says.
            drop_rate: stochastic depth; block i of n drops its branch with `drop_rate * i / n`.
        """
        style = replace(style, se_ratio=0.0)
        x = style.conv(
            image,
            round_channels(self.width * STEM_CHANNELS),
            "stem",
            kernel=3,
            stride=2,
            active=True,
        )
        stages = [
            replace(stage, channels=round_channels(self.width * stage.channels)) for stage in STAGES
        ]
        return mbconv_stages(x, stages, style, drop_rate)

    def top(self, x: Tensor, style: BlockStyle) -> Tensor:
        """The classifier's 1x1 convolution on the map of level 5, normalized and activated."""
        return style.conv(x, self.top_channels, "top", active=True)
