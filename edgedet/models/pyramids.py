"""Feature pyramids between backbone and heads: FPN, BiFPN and NAS-FPN, each a table of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol

from keras import layers

from edgedet.models.blocks import BlockStyle
from edgedet.models.dropblock import DropBlock
from edgedet.models.graph import Block, Feature, Fuse, Node, Resample, Tensor, walk
from edgedet.models.layers import NearestUpsampling, WeightedFusion

FUSIONS = ("fast", "softmax", "sum")


class Pyramid(Protocol):
    """A neck: what turns the backbone's maps into the heads' maps."""

    @property
    def width(self) -> int:
        """Channels of every map."""
        ...

    @property
    def stacks(self) -> int:
        """Repetitions of the table."""
        ...

    def table(self, levels: Sequence[int]) -> tuple[tuple[int, ...], tuple[Node, ...]]:
        """The levels of the entry maps and the nodes of one stack."""
        ...

    def features(
        self, maps: Mapping[int, Tensor], levels: Sequence[int], style: BlockStyle
    ) -> list[dict[int, Tensor]]:
        """The maps by level after each stack, from the backbone's maps by level."""
        ...


def bifpn_nodes(levels: Sequence[int]) -> tuple[Node, ...]:
    """BiFPN's table for entry maps at consecutive `levels` (EfficientDet, Fig. 3e and section 3.3).

    A way down from the coarsest level to the finest, then one up, each level of which also takes
    its entry map.
    """
    count = len(levels)
    nodes: list[Node] = []
    newest = list(range(count))  # the latest node of each level
    for place in range(count - 2, -1, -1):
        nodes.append(Node(levels[place], (place, newest[place + 1]), output=place == 0))
        newest[place] = count + len(nodes) - 1
    for place in range(1, count):
        inputs = {place: None, newest[place]: None, newest[place - 1]: None}
        nodes.append(Node(levels[place], tuple(inputs), output=True))
        newest[place] = count + len(nodes) - 1
    return tuple(nodes)


def fpn_nodes(levels: Sequence[int], finest_inputs: int) -> tuple[Node, ...]:
    """FPN's table (Lin et al. 2017, Fig. 3; RetinaNet's coarser levels, section 4, footnote 2).

    Laterals and the way down have `op` "lateral"; what is returned is smoothed by a convolution
    (`op` "smooth") or made from the next finer map (`op` "coarser").

    Args:
        levels: of the outputs.
        finest_inputs: how many of them the backbone gives.
    """
    count = finest_inputs
    nodes = [Node(levels[count - 1], (count - 1,), "lateral")]
    for place in range(count - 2, -1, -1):
        nodes.append(Node(levels[place], (place, count + len(nodes) - 1), "lateral"))
    for place in range(count):
        nodes.append(Node(levels[place], (2 * count - 1 - place,), "smooth", output=True))
    for place in range(count, len(levels)):
        nodes.append(Node(levels[place], (count + len(nodes) - 1,), "coarser", output=True))
    return tuple(nodes)


NAS_FPN = (
    # Entry maps 0 to 4 are P3 to P7 (NAS-FPN, Fig. 6 and 7f). Outputs 9 and 10 also take entry
    # maps 2 and 4, which nothing else uses.
    Node(4, (1, 3), "global_pooling"),
    Node(4, (1, 5), "sum"),
    Node(3, (0, 6), "sum", output=True),
    Node(4, (6, 7), "sum", output=True),
    Node(5, (7, 8), "global_pooling", output=True),
    Node(7, (6, 9), "global_pooling", output=True),
    Node(6, (9, 10), "global_pooling", output=True),
)

NAS_FPN_LITE = (
    # The paper prints no table for its search over P3 to P6 (section 4.4). This is the table above
    # without P7: its P6, made of P5 and P7 there, is made here of what P7 was made of.
    Node(4, (1, 3), "global_pooling"),
    Node(4, (1, 4), "sum"),
    Node(3, (0, 5), "sum", output=True),
    Node(4, (5, 6), "sum", output=True),
    Node(5, (6, 7), "global_pooling", output=True),
    Node(6, (5, 8), "global_pooling", output=True),
)


def _sizes(features: Sequence[Feature]) -> dict[int, tuple[int, int]]:
    return {
        feature.level: (int(feature.tensor.shape[1]), int(feature.tensor.shape[2]))
        for feature in features
    }


def _upsampled(
    feature: Feature, level: int, sizes: Mapping[int, tuple[int, int]], name: str
) -> Tensor:
    # A level of an odd size is one smaller than twice the next coarser one: cut, not squeezed.
    return NearestUpsampling(2 ** (feature.level - level), size=sizes[level], name=f"{name}_up")(
        feature.tensor
    )


def _projected(style: BlockStyle, feature: Feature, channels: int, name: str) -> Feature:
    """1x1 convolution with bias and normalization, only where the width differs."""
    if feature.channels == channels:
        return feature
    return Feature(
        feature.level, style.conv(feature.tensor, channels, name, use_bias=True, active=False)
    )


def _pooled(x: Tensor, pool: int, stride: int, name: str) -> Tensor:
    return layers.MaxPooling2D(pool, strides=stride, padding="same", name=name)(x)


def _stacked(
    pyramid: BiFPN | NASFPN,
    entries: Sequence[Feature],
    *,
    resample: Resample,
    fuse: Fuse,
    block: Block,
) -> list[dict[int, Tensor]]:
    """Walk the pyramid's table as often as it is stacked; the maps by level after each time."""
    levels, nodes = pyramid.table([entry.level for entry in entries])
    stacks: list[dict[int, Tensor]] = []
    for stack in range(pyramid.stacks):
        outputs = walk(
            nodes,
            entries,
            [pyramid.width] * len(nodes),
            resample=resample,
            fuse=fuse,
            block=block,
            prefix=f"{pyramid.name}_{stack}_",
        )
        entries = [Feature(level, outputs[level]) for level in levels]
        stacks.append({level: outputs[level] for level in levels})
    return stacks


@dataclass(frozen=True)
class BiFPN:
    """Bidirectional pyramid with weighted fusion (EfficientDet, section 3).

    Attributes:
        width: channels of every map.
        stacks: repetitions.
        fusion: fast (normalized, section 3.3), softmax, or sum (unweighted).
    """

    width: int
    stacks: int
    fusion: str = "fast"
    name: ClassVar[str] = "bifpn"

    def table(self, levels: Sequence[int]) -> tuple[tuple[int, ...], tuple[Node, ...]]:
        """See `Pyramid`."""
        return tuple(levels), bifpn_nodes(levels)

    def features(
        self, maps: Mapping[int, Tensor], levels: Sequence[int], style: BlockStyle
    ) -> list[dict[int, Tensor]]:
        """See `Pyramid`. Levels the backbone lacks are pooled from its coarsest, 3x3 stride 2."""
        entries: list[Feature] = []
        for level in levels:
            if level in maps:
                entries.append(Feature(level, maps[level]))
                continue
            name = f"{self.name}_entry_{level}"
            coarsest = _projected(style, entries[-1], self.width, name)
            entries.append(Feature(level, _pooled(coarsest.tensor, 3, 2, f"{name}_pool")))
        return _stacked(
            self,
            entries,
            resample=partial(self._resample, style, _sizes(entries)),
            fuse=partial(self._fuse, style),
            block=partial(self._block, style),
        )

    def _resample(
        self,
        style: BlockStyle,
        sizes: Mapping[int, tuple[int, int]],
        feature: Feature,
        level: int,
        channels: int,
        name: str,
    ) -> Tensor:
        feature = _projected(style, feature, channels, name)
        if level < feature.level:
            return _upsampled(feature, level, sizes, name)
        x = feature.tensor
        for step in range(level - feature.level):
            x = _pooled(x, 3, 2, f"{name}_pool{step or ''}")
        return x

    def _fuse(self, style: BlockStyle, features: Sequence[Feature], op: str, name: str) -> Tensor:
        tensors = [feature.tensor for feature in features]
        if self.fusion == "sum":
            merged = layers.Add(name=name)(tensors)
        else:
            merged = WeightedFusion(epsilon=1e-4, method=self.fusion, name=name)(tensors)
        return style.activate(merged, name)

    def _block(self, style: BlockStyle, x: Tensor, identity: int, name: str) -> Tensor:
        return style.separable(x, self.width, name)


@dataclass(frozen=True)
class FPN:
    """The plain pyramid (Lin et al. 2017) with RetinaNet's levels beyond the backbone's.

    Attributes:
        width: channels of every map.
        separable: separable convolutions in place of full ones (SSDLite's and Lite forms).
    """

    width: int
    separable: bool = False
    stacks: ClassVar[int] = 1
    name: ClassVar[str] = "fpn"

    def table(self, levels: Sequence[int]) -> tuple[tuple[int, ...], tuple[Node, ...]]:
        """See `Pyramid`; the entry maps are P3 to P5 of the backbone."""
        entries = tuple(level for level in levels if level <= 5)
        return entries, fpn_nodes(levels, len(entries))

    def features(
        self, maps: Mapping[int, Tensor], levels: Sequence[int], style: BlockStyle
    ) -> list[dict[int, Tensor]]:
        """See `Pyramid`."""
        entry_levels, nodes = self.table(levels)
        entries = [Feature(level, maps[level]) for level in entry_levels]
        outputs = walk(
            nodes,
            entries,
            [self.width] * len(nodes),
            resample=partial(self._resample, style, _sizes(entries)),
            fuse=self._fuse,
            block=partial(self._block, style, dict(enumerate(nodes, start=len(entries)))),
            prefix=f"{self.name}_",
        )
        return [{level: outputs[level] for level in levels}]

    def _resample(
        self,
        style: BlockStyle,
        sizes: Mapping[int, tuple[int, int]],
        feature: Feature,
        level: int,
        channels: int,
        name: str,
    ) -> Tensor:
        if feature.channels != channels:
            return style.plain_conv(feature.tensor, channels, name)
        if level < feature.level:
            return _upsampled(feature, level, sizes, name)
        return feature.tensor  # the block of a coarser node strides

    def _fuse(self, features: Sequence[Feature], op: str, name: str) -> Tensor:
        tensors = [feature.tensor for feature in features]
        return tensors[0] if len(tensors) == 1 else layers.Add(name=name)(tensors)

    def _block(
        self, style: BlockStyle, nodes: Mapping[int, Node], x: Tensor, identity: int, name: str
    ) -> Tensor:
        op = nodes[identity].op
        if op == "lateral":
            return x
        stride = 2 if op == "coarser" else 1
        if stride == 2 and nodes[nodes[identity].inputs[0]].op == "coarser":
            x = style.activate(x, name)
        if self.separable:
            return style.separable(x, self.width, name, stride=stride)
        return style.conv(x, self.width, name, kernel=3, stride=stride, use_bias=True)


@dataclass(frozen=True)
class NASFPN:
    """NAS-FPN (Ghiasi et al. 2019): a searched table of merging cells, stacked.

    Attributes:
        width: channels of every map.
        stacks: repetitions; any of them can be the last (section 3.2, anytime detection).
        separable: separable convolutions (section 4.4, NAS-FPNLite).
        keep_rate: DropBlock's part of kept features after each convolution; 1 leaves it out.
        nodes: the table; by default the published one for P3 to P7, and that one without P7 for
            P3 to P6, whose own table was never published.
    """

    width: int
    stacks: int
    separable: bool = False
    keep_rate: float = 1.0
    nodes: tuple[Node, ...] | None = None
    name: ClassVar[str] = "nas_fpn"

    def table(self, levels: Sequence[int]) -> tuple[tuple[int, ...], tuple[Node, ...]]:
        """See `Pyramid`."""
        published = {(3, 4, 5, 6, 7): NAS_FPN, (3, 4, 5, 6): NAS_FPN_LITE}
        return tuple(levels), self.nodes or published[tuple(levels)]

    def features(
        self, maps: Mapping[int, Tensor], levels: Sequence[int], style: BlockStyle
    ) -> list[dict[int, Tensor]]:
        """See `Pyramid`. Levels the backbone lacks are pooled from its coarsest, 2x2 stride 2."""
        entries: list[Feature] = []
        for level in levels:
            if level in maps:
                entry = Feature(level, maps[level])
                entries.append(_projected(style, entry, self.width, f"{self.name}_entry_{level}"))
            else:
                name = f"{self.name}_entry_{level}_pool"
                entries.append(Feature(level, _pooled(entries[-1].tensor, 2, 2, name)))
        return _stacked(
            self,
            entries,
            resample=partial(self._resample, _sizes(entries)),
            fuse=self._fuse,
            block=partial(self._block, style),
        )

    def _resample(
        self,
        sizes: Mapping[int, tuple[int, int]],
        feature: Feature,
        level: int,
        channels: int,
        name: str,
    ) -> Tensor:
        if level < feature.level:
            return _upsampled(feature, level, sizes, name)
        if level > feature.level:
            factor = 2 ** (level - feature.level)
            return _pooled(feature.tensor, factor, factor, f"{name}_pool")
        return feature.tensor

    def _fuse(self, features: Sequence[Feature], op: str, name: str) -> Tensor:
        tensors = [feature.tensor for feature in features]
        if op == "global_pooling":
            # The coarser of the two decides how much of the finer one passes (Fig. 5).
            order = sorted(range(2), key=lambda index: -features[index].level)
            coarse, fine = (tensors[index] for index in order)
            gate = layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_global")(coarse)
            gate = layers.Activation("sigmoid", name=f"{name}_sigmoid")(gate)
            passed = layers.Multiply(name=f"{name}_gate")([fine, gate])
            tensors = [coarse, passed, *tensors[2:]]
        return layers.Add(name=name)(tensors)

    def _block(self, style: BlockStyle, x: Tensor, identity: int, name: str) -> Tensor:
        x = layers.Activation("relu6" if self.separable else "relu", name=f"{name}_relu")(x)
        if self.separable:
            x = style.separable(x, self.width, name)
        else:
            x = style.conv(x, self.width, name, kernel=3, use_bias=True)
        return DropBlock(1 - self.keep_rate, name=f"{name}_drop")(x) if self.keep_rate < 1 else x
