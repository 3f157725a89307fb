"""Scale-permuted backbones and feature pyramids as tables of nodes, and the one walker for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Tensor = Any
"""A Keras symbolic tensor; Keras gives it no usable static type."""


@dataclass(frozen=True)
class Node:
    """One feature map of a graph over pyramid levels.

    Attributes:
        level: pyramid level; the map has stride 2**level.
        inputs: ids of the nodes merged into this one; the graph's features come first.
        op: name of the merge, passed to `fuse`.
        output: whether the map is the graph's output for its level.
    """

    level: int
    inputs: tuple[int, ...]
    op: str = "sum"
    output: bool = False


@dataclass(frozen=True)
class Feature:
    """A map [batch, rows, columns, channels] and the level it is, or was made, from."""

    level: int
    tensor: Tensor

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.tensor.shape[-1])


Resample = Callable[[Feature, int, int, str], Tensor]
"""(feature, target level, target channels, layer name) -> tensor at that level and width."""
Fuse = Callable[[Sequence[Feature], str, str], Tensor]
"""(maps of equal shape, each with the level it came from; op; layer name) -> merged tensor."""
Block = Callable[[Tensor, int, str], Tensor]
"""(merged tensor, node id, layer name) -> the node's tensor."""


def leftovers(nodes: Sequence[Node], entries: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """What each output node merges besides its inputs, by node id.

    An output node also takes, without resampling, every earlier node of its level that nothing
    has used yet (the leftover rule of SpineNet and NAS-FPN). `walk` leaves out those of another
    width.

    Args:
        nodes: the table; node ids continue those of the entries.
        entries: levels of the entry maps.
    """
    levels = [*entries, *(node.level for node in nodes)]
    used: set[int] = set()
    found = {}
    for identity, node in enumerate(nodes, start=len(entries)):
        used.update(node.inputs)
        if node.output:
            extra = tuple(
                source
                for source in range(identity)
                if source not in used and levels[source] == node.level
            )
            if extra:
                found[identity] = extra
                used.update(extra)
    return found


def walk(
    nodes: Sequence[Node],
    features: Sequence[Feature],
    channels: Sequence[int],
    *,
    resample: Resample,
    fuse: Fuse,
    block: Block,
    prefix: str = "",
) -> dict[int, Tensor]:
    """Build a graph and return its outputs by level.

    Args:
        nodes: the table; node ids continue those of `features`.
        features: entry maps, ids 0 to len(features) - 1.
        channels: width of each node of the table.
        resample: brings an input to the node's level and width.
        fuse: merges the resampled inputs, then the leftovers (see `leftovers`).
        block: what follows the merge.
        prefix: begins every layer name, for tables that are built more than once.
    """
    extra = leftovers(nodes, [feature.level for feature in features])
    built = list(features)
    outputs: dict[int, Tensor] = {}
    for node, width in zip(nodes, channels, strict=True):
        identity = len(built)
        name = f"{prefix}node_{identity}"
        merged = [
            Feature(
                built[source].level,
                resample(built[source], node.level, width, f"{name}_from_{source}"),
            )
            for source in node.inputs
        ]
        merged += [
            built[source] for source in extra.get(identity, ()) if built[source].channels == width
        ]
        tensor = block(fuse(merged, node.op, f"{name}_fusion"), identity, name)
        built.append(Feature(node.level, tensor))
        if node.output:
            outputs[node.level] = tensor
    return outputs
