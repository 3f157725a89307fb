"""Eff-SpineNet (Du et al. 2020): scale-permuted MBConv backbone with learned widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgedet.models.blocks import BlockStyle
from edgedet.models.graph import Feature, Node, Tensor, walk

STEM_FILTERS = 8
"""Width of the stem; it is not scaled with the model."""

# Ids 0 and 1 are the entry blocks at levels 1 and 2; the paper's block id is id + 1.
#
#   level 1   0
#   level 2     1 2 3
#   level 3           5                         14=P3
#   level 4         4   6   8                 13=P4
#   level 5                   9   11 12             15=P5 (+12, which nothing else uses)
#   level 6                 7                                17=P6
#   level 7                     10                        16=P7
NODES = (
    Node(2, (0, 1)),
    Node(2, (1, 2)),
    Node(4, (1, 2)),
    Node(3, (3, 4)),
    Node(4, (3, 5)),
    Node(6, (4, 6)),
    Node(4, (4, 6)),
    Node(5, (7, 8)),
    Node(7, (7, 9)),
    Node(5, (9, 10)),
    Node(5, (9, 11)),
    Node(4, (6, 11), output=True),
    Node(3, (5, 11), output=True),
    Node(5, (8, 13), output=True),
    Node(7, (6, 15), output=True),
    Node(6, (13, 15), output=True),
)

# Table 1 of the paper, column Eff-SpineNet-D0, ids 0 to 17.
WIDTHS = (16, 24, 16, 16, 104, 48, 120, 40, 120, 168, 96, 192, 136, 104, 40, 136, 136, 40)


@dataclass(frozen=True)
class EffSpineNetScale:
    """One column of the paper's Table 2.

    Attributes:
        width: multiplier of the backbone's widths.
        repeats: blocks per node, ids 0 to 17.
        feature_width: width of the endpoints and of the heads.
        head_layers: separable convolutions in each head.
        drop_rate: stochastic depth of the last block; block i of the 16 gets `(i + 1) / 16` of it.
    """

    width: float
    feature_width: int
    head_layers: int = 3
    repeats: tuple[int, ...] = (1,) * 18
    drop_rate: float = 0.0


def round_width(channels: float) -> int:
    """Round to a multiple of 4, at least 4.

    The paper does not print its rounding; this one reproduces its parameter counts.
    """
    return max(4, int(channels + 2) // 4 * 4)


def backbone(
    image: Tensor, scale: EffSpineNetScale, style: BlockStyle, widths: Sequence[int] = WIDTHS
) -> dict[int, Tensor]:
    """Build the backbone on `image` [batch, rows, columns, 3]; features by level, 3 to 7.

    Every feature has `scale.feature_width` channels, normalized and activated.
    """
    scaled = [round_width(width * scale.width) for width in widths]

    def repeated(x: Tensor, identity: int, name: str, stride: int = 1) -> Tensor:
        rate = scale.drop_rate * max(0, identity - 1) / len(NODES)
        for repeat in range(scale.repeats[identity]):
            x = style.mbconv(
                x,
                scaled[identity],
                f"{name}_block{repeat}",
                stride=stride if repeat == 0 else 1,
                drop_rate=rate,
            )
        return x

    x = style.conv(image, STEM_FILTERS, "stem", kernel=3, stride=2, active=True)
    first = repeated(x, 0, "node_0")
    second = repeated(first, 1, "node_1", stride=2)
    outputs = walk(
        NODES,
        [Feature(1, first), Feature(2, second)],
        scaled[2:],
        resample=style.resample,
        fuse=style.fuse,
        block=repeated,
    )
    return {
        level: style.conv(outputs[level], scale.feature_width, f"endpoint_{level}", active=True)
        for level in sorted(outputs)
    }
