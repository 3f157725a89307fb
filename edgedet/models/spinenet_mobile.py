"""Mobile SpineNet-49, 49S and 49XS: Eff-SpineNet's wiring with one width per level.

SpineNet's paper (Du et al., arXiv 1912.05027, appendix A) describes them; the wiring and what else
it leaves open are those of the TensorFlow Model Garden, which publishes them with COCO weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import BlockStyle
from edgedet.models.eff_spinenet import LEVELS, SINGLE, scale_permuted
from edgedet.models.graph import Tensor

LEVEL_WIDTHS = (8, 16, 24, 40, 80, 112, 112, 112)
"""Channels of the stem (level 0) and of the blocks at levels 1 to 7, before scaling."""


@dataclass(frozen=True)
class SpineNetMobile:
    """The backbone; the defaults are Mobile SpineNet-49's.

    Unlike Eff-SpineNet's, its stem is scaled, widths are rounded down to whole numbers, merged maps
    are summed without weights, nothing goes from space to depth, and squeeze-and-excite has a
    rectifier inside and a hard sigmoid as its gate.

    Attributes:
        width: multiplier of `LEVEL_WIDTHS`.
        feature_width: channels of the features and of the heads.
        repeats: blocks per node, ids 0 to 17; the published models have one each.
        se_ratio: squeeze-and-excite width as a part of a block's input width; 0 leaves SE out.
    """

    width: float = 1.0
    feature_width: int = 48
    repeats: tuple[int, ...] = SINGLE
    se_ratio: float = 0.2

    def features(
        self, image: Tensor, style: BlockStyle, *, drop_rate: float = 0.0
    ) -> dict[int, Tensor]:
        """Build the backbone on `image` [batch, rows, columns, 3].

        Args:
            image: normalized image of known size.
            style: activation; what else makes the blocks is the backbone's own.
            drop_rate: stochastic depth of the last block.

        Returns:
            Maps [batch, rows / 2^level, columns / 2^level, feature_width] by level, 3 to 7,
            normalized and activated.

        Raises:
            InvalidInputError: the image's size is not known.
        """
        widths = [int(channels * self.width) for channels in LEVEL_WIDTHS]
        return scale_permuted(
            image,
            replace(
                style,
                se_ratio=self.se_ratio,
                se_activation="relu",
                se_gate="hard_sigmoid",
                space_to_depth=False,
                weighted_fusion=False,
            ),
            stem_width=widths[0],
            widths=[widths[level] for level in LEVELS],
            repeats=self.repeats,
            feature_width=self.feature_width,
            drop_rate=drop_rate,
        )


HEAD_LAYERS = 4
"""Separable convolutions in each head of the published detectors."""

VARIANTS: Mapping[str, SpineNetMobile] = {
    "49": SpineNetMobile(1.0, 48),
    "49s": SpineNetMobile(0.65, 40),
    "49xs": SpineNetMobile(0.6, 24),
}


def spinenet_mobile(name: str) -> SpineNetMobile:
    """The backbone called `name`: 49, 49s or 49xs.

    Raises:
        InvalidInputError: there is none.
    """
    if name not in VARIANTS:
        raise InvalidInputError(
            f"There is no Mobile SpineNet {name!r}; choose one of {', '.join(VARIANTS)}."
        )
    return VARIANTS[name]
