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
    """A computed node: its level and its tensor [batch, rows, columns, channels]."""

    level: int
    tensor: Tensor

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.tensor.shape[-1])


Resample = Callable[[Feature, int, int, str], Tensor]
"""(feature, target level, target channels, layer name) -> tensor at that level and width."""
Fuse = Callable[[Sequence[Tensor], str, str], Tensor]
"""(tensors of equal shape, op, layer name) -> merged tensor."""
Block = Callable[[Tensor, int, str], Tensor]
"""(merged tensor, node id, layer name) -> the node's tensor."""


def walk(
    nodes: Sequence[Node],
    features: Sequence[Feature],
    channels: Sequence[int],
    *,
    resample: Resample,
    fuse: Fuse,
    block: Block,
) -> dict[int, Tensor]:
    """Build a graph and return its outputs by level.

    An output node also merges, without resampling, every earlier node of its level and width that
    nothing has used yet (the leftover rule of SpineNet and NAS-FPN).

    Args:
        nodes: the table; node ids continue those of `features`.
        features: entry maps, ids 0 to len(features) - 1.
        channels: width of each node of the table.
        resample: brings an input to the node's level and width.
        fuse: merges the resampled inputs.
        block: what follows the merge.
    """
    built = list(features)
    used: set[int] = set()
    outputs: dict[int, Tensor] = {}
    for node, width in zip(nodes, channels, strict=True):
        identity = len(built)
        name = f"node_{identity}"
        merged = [
            resample(built[source], node.level, width, f"{name}_from_{source}")
            for source in node.inputs
        ]
        used.update(node.inputs)
        if node.output:
            leftovers = [
                source
                for source, feature in enumerate(built)
                if source not in used and feature.level == node.level and feature.channels == width
            ]
            merged += [built[source].tensor for source in leftovers]
            used.update(leftovers)
        tensor = block(fuse(merged, node.op, f"{name}_fusion"), identity, name)
        built.append(Feature(node.level, tensor))
        if node.output:
            outputs[node.level] = tensor
    return outputs
