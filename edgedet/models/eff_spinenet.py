"""Eff-SpineNet (Du et al. 2020): scale-permuted MBConv backbone with learned widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keras import layers

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import BlockStyle
from edgedet.models.graph import Feature, Node, Tensor, walk
from edgedet.models.layers import NearestUpsampling

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

LEVELS = (1, 2, *(node.level for node in NODES))
"""Level of each block, ids 0 to 17."""

# Table 1 of the paper, ids 0 to 17: column Eff-SpineNet-D0, and SP-EfficientNet-B0's.
WIDTHS = (16, 24, 16, 16, 104, 48, 120, 40, 120, 168, 96, 192, 136, 104, 40, 136, 136, 40)
SP_WIDTHS = (16, 24, 24, 24, 96, 40, 96, 152, 96, 152, 152, 152, 152, 96, 40, 152, 152, 152)

ALLOCATION = (10, 10, 5, 5, 15, 20, 20, 1, 20, 15, 5, 20, 10, 15, 15, 10, 10, 1)
"""Share of the computation that the search gave to each block.

The paper prints the resulting widths only; these members of its search space {1, 5, 10, 15, 20}
lead to them.
"""

SINGLE = (1,) * len(LEVELS)
"""One block per node."""

# Table 2 prints 16 repeats for 18 blocks. They belong to the first 16: so the paper's parameter
# counts come out.
DEEPER = (2, 2, 1, 1, 2, 2, 2, 1, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1)
"""Blocks per node of D1 and D2."""


def round_width(channels: float) -> int:
    """Round to a multiple of 4, at least 4.

    The paper does not print its rounding; this one reproduces its parameter counts.
    """
    return max(4, int(channels + 2) // 4 * 4)


def widths_from_allocation(
    allocation: Sequence[float],
    widths: Sequence[int] = SP_WIDTHS,
    levels: Sequence[int] = LEVELS,
) -> tuple[int, ...]:
    """Widths of the blocks for a distribution of the computation (section 3.3, Eq. 2 to 4).

    A block of width c at level l costs F = c^2 / 4^l multiply-adds, up to a factor that all blocks
    share (Eq. 2). Block i gets alpha_i = beta_i * sum(F) / sum(beta * F) times its cost (Eq. 4),
    so that the sum stays (Eq. 3), and with it the width sqrt(alpha_i) * c_i, rounded to a multiple
    of 8, at least 8.

    Args:
        allocation: the paper's beta, relative and positive, one per block.
        widths: the blocks' widths before, SP-EfficientNet-B0's by default.
        levels: the blocks' levels.

    Raises:
        InvalidInputError: not one positive share per block.
    """
    if len(allocation) != len(widths) or len(levels) != len(widths):
        raise InvalidInputError(
            f"Give a share and a level for each of the {len(widths)} blocks, "
            f"not {len(allocation)} and {len(levels)}."
        )
    if not all(share > 0 for share in allocation):
        raise InvalidInputError("Every block needs a positive share of the computation.")
    costs = [width**2 / 4**level for width, level in zip(widths, levels, strict=True)]
    spent = sum(share * cost for share, cost in zip(allocation, costs, strict=True))
    alphas = [share * sum(costs) / spent for share in allocation]
    return tuple(
        max(8, int(alpha**0.5 * width + 4) // 8 * 8)
        for alpha, width in zip(alphas, widths, strict=True)
    )


def scale_permuted(
    image: Tensor,
    style: BlockStyle,
    *,
    stem_width: int,
    widths: Sequence[int],
    repeats: Sequence[int],
    feature_width: int,
    drop_rate: float = 0.0,
) -> dict[int, Tensor]:
    """Build stem, `NODES` and endpoints on `image` [batch, rows, columns, 3].

    Maps of level l have ceil(rows / 2^l) rows; what is larger when up-sampled, from an odd size, is
    cut at the bottom and on the right.

    Args:
        image: normalized image of known size.
        style: the blocks' style.
        stem_width: channels of the stem.
        widths: channels of the blocks, ids 0 to 17.
        repeats: blocks per node, ids 0 to 17.
        feature_width: channels of the features.
        drop_rate: stochastic depth of the last block; block i of the 16 permuted ones gets
            `(i + 1) / 16` of it (Huang et al. 2016).

    Returns:
        Features by level, 3 to 7, normalized and activated.

    Raises:
        InvalidInputError: the image's size is not known.
    """
    _, rows, columns, _ = image.shape
    if rows is None or columns is None:
        raise InvalidInputError(
            f"A scale-permuted backbone needs images of a known size, not {image.shape}."
        )

    def repeated(x: Tensor, identity: int, name: str, stride: int = 1) -> Tensor:
        rate = drop_rate * max(0, identity - 1) / len(NODES)
        for repeat in range(repeats[identity]):
            x = style.mbconv(
                x,
                widths[identity],
                f"{name}_block{repeat}",
                stride=stride if repeat == 0 else 1,
                drop_rate=rate,
            )
        return x

    def resampled(feature: Feature, level: int, channels: int, name: str) -> Tensor:
        size = (-(-rows // 2**level), -(-columns // 2**level))
        return style.resample(feature, level, channels, name, size=size)

    x = style.conv(image, stem_width, "stem", kernel=3, stride=2, active=True)
    first = repeated(x, 0, "node_0")
    second = repeated(first, 1, "node_1", stride=2)
    outputs = walk(
        NODES,
        [Feature(1, first), Feature(2, second)],
        widths[2:],
        resample=resampled,
        fuse=style.fuse,
        block=repeated,
    )
    return {
        level: style.conv(outputs[level], feature_width, f"endpoint_{level}", active=True)
        for level in sorted(outputs)
    }


@dataclass(frozen=True)
class EffSpineNet:
    """The backbone; the defaults are Eff-SpineNet-D0's.

    Attributes:
        width: multiplier of `widths` ("feat. mult." of Table 2).
        feature_width: channels of the features and of the heads ("feat. dim.").
        repeats: blocks per node, ids 0 to 17.
        widths: channels of the blocks before scaling, ids 0 to 17.
        se_ratio: squeeze-and-excite width as a part of a block's input width; 0 leaves SE out.
        space_to_depth: whether down-sampling by two levels or more starts with space-to-depth
            (section 3.2); without it the network is "model 1" of Table 9.
        weighted_fusion: whether merged maps get learned weights (Eq. 1); with neither the network
            is "model 2" of Table 9.

    Raises:
        InvalidInputError: `repeats` or `widths` is not for 18 blocks.
    """

    width: float = 1.0
    feature_width: int = 64
    repeats: tuple[int, ...] = SINGLE
    widths: tuple[int, ...] = WIDTHS
    se_ratio: float = 0.2
    space_to_depth: bool = True
    weighted_fusion: bool = True

    def __post_init__(self) -> None:
        for name, values in (("repeats", self.repeats), ("widths", self.widths)):
            if len(values) != len(LEVELS) or min(values) < 1:
                raise InvalidInputError(
                    f"Eff-SpineNet's {name} must be {len(LEVELS)} positive numbers, not {values}."
                )

    def features(
        self, image: Tensor, style: BlockStyle, *, drop_rate: float = 0.0
    ) -> dict[int, Tensor]:
        """Build the backbone on `image` [batch, rows, columns, 3].

        Args:
            image: normalized image of known size.
            style: activation; what else makes the blocks is the backbone's own.
            drop_rate: stochastic depth of the last block; the paper does not print its rate.

        Returns:
            Maps [batch, rows / 2^level, columns / 2^level, feature_width] by level, 3 to 7,
            normalized and activated.

        Raises:
            InvalidInputError: the image's size is not known.
        """
        return scale_permuted(
            image,
            replace(
                style,
                se_ratio=self.se_ratio,
                space_to_depth=self.space_to_depth,
                weighted_fusion=self.weighted_fusion,
            ),
            stem_width=STEM_FILTERS,
            widths=[round_width(width * self.width) for width in self.widths],
            repeats=self.repeats,
            feature_width=self.feature_width,
            drop_rate=drop_rate,
        )


@dataclass(frozen=True)
class Variant:
    """A row of the paper's Table 2: the backbone, and what is scaled with it.

    Attributes:
        backbone: the backbone; its `feature_width` is the heads' too.
        size: side of the detector's square input in pixels.
        head_layers: separable convolutions in each head.
        classifier_size: side of the classifier's square input in pixels (Table 10).
        classifier_dropout: rate before its logits. The paper trains like EfficientNet, which takes
            0.2 for B0 and B1 and 0.3 for B2.
    """

    backbone: EffSpineNet
    size: int
    head_layers: int = 3
    classifier_size: int = 224
    classifier_dropout: float = 0.2


# The paper has classifiers of D0 to D2 only: the input of the others is D0's.
VARIANTS: Mapping[str, Variant] = {
    "m0": Variant(EffSpineNet(0.4, 24), 256),
    "m1": Variant(EffSpineNet(0.5, 40), 384),
    "m2": Variant(EffSpineNet(0.8, 64), 384),
    "d0": Variant(EffSpineNet(1.0, 64), 512),
    "d1": Variant(EffSpineNet(1.0, 88, DEEPER), 640, classifier_size=240),
    "d2": Variant(EffSpineNet(1.1, 112, DEEPER), 768, classifier_size=256, classifier_dropout=0.3),
    # SP-EfficientNet-B0 of Tables 1 and 8, compared with D0 at D0's scale.
    "sp-b0": Variant(EffSpineNet(1.0, 64, widths=SP_WIDTHS), 512),
}


def variant(name: str) -> Variant:
    """The variant called `name`: m0, m1, m2, d0, d1, d2 or sp-b0.

    Raises:
        InvalidInputError: there is none.
    """
    if name not in VARIANTS:
        raise InvalidInputError(
            f"There is no Eff-SpineNet {name!r}; choose one of {', '.join(VARIANTS)}."
        )
    return VARIANTS[name]


def full_name(name: str) -> str:
    """A variant's name among those of other architectures: `eff-spinenet-m0`."""
    return "sp-efficientnet-b0" if name == "sp-b0" else f"eff-spinenet-{name}"


def classifier_map(image: Tensor, style: BlockStyle, name: str, *, drop_rate: float) -> Tensor:
    """The map that a classifier averages (section 4.2): the mean of P3 to P7.

    It has 256 channels in every variant. Section 4.2 does not say so, but the paper's counts
    (Table 10) are those of backbones without space-to-depth: so these are.

    Args:
        image: normalized image of known size.
        style: activation.
        name: a variant; the paper has classifiers of d0 to d2.
        drop_rate: stochastic depth of the last block.
    """
    backbone = replace(variant(name).backbone, feature_width=256, space_to_depth=False)
    return average_features(backbone.features(image, style, drop_rate=drop_rate))


def average_features(features: Mapping[int, Tensor], name: str = "average") -> Tensor:
    """Average of all features at the finest level's size, by nearest up-sampling.

    Sections 4.2 and 4.3 of the paper.

    Args:
        features: maps [batch, rows, columns, width] of one width by level.
        name: prefix of the layers.

    Returns:
        [batch, rows, columns, width] of the finest level.
    """
    finest, *coarser = sorted(features)
    _, rows, columns, _ = features[finest].shape
    maps = [features[finest]]
    for level in coarser:
        upsampling = NearestUpsampling(
            2 ** (level - finest), size=(rows, columns), name=f"{name}_up_{level}"
        )
        maps.append(upsampling(features[level]))
    return layers.Average(name=name)(maps)
