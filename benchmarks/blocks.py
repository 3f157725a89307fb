"""The tree of blocks that a network's layer names tell of, with the time spent in each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

UNNAMED = "without a name"

# What converters call a thing that had no name of its own.
_MADE_UP = re.compile(
    r"(StatefulPartitionedCall\w*|PartitionedCall\w*|[A-Z][A-Za-z0-9]*_\d+)(:\d+)?([._/].*)?$"
)
_PREFIX = re.compile(r"^(functional|model|sequential)(_\d+)?/")
# What follows a layer's name: the operation in it, and the number of a second use.
_SUFFIX = re.compile(r"(/.*|\.\d+|:\d+)$")


@dataclass
class Block:
    """A part of a network.

    Attributes:
        name: of this part alone.
        milliseconds: spent in it, its own parts included.
        multiply_adds: of it, its own parts included.
        parts: in the order in which they first ran.
    """

    name: str
    milliseconds: float = 0.0
    multiply_adds: int = 0
    parts: dict[str, Block] = field(default_factory=dict)


def block_path(layer: str) -> tuple[str, ...]:
    """Where a layer belongs, outermost first, by its name.

    Words between underscores are the steps; a number belongs to the word before it. So
    `node_4_block0_se_reduce_relu6/Relu6` is node_4, block0, se, reduce, relu6.
    """
    name = layer.split(";")[0]
    if _MADE_UP.match(name):
        return (UNNAMED,)
    name = _PREFIX.sub("", name)
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
    steps: list[str] = []
    for word in filter(None, name.split("_")):
        if steps and word.isdigit():
            steps[-1] += f"_{word}"
        else:
            steps.append(word)
    return tuple(steps) or (UNNAMED,)


def block_tree(
    layers: Iterable[tuple[tuple[str, ...], float, int]], *, name: str = "network", depth: int = 3
) -> Block:
    """Sum times and multiply-adds over the blocks of a network.

    Args:
        layers: path, milliseconds and multiply-adds of each layer.
        name: of the whole.
        depth: steps of a path that make a block of their own.
    """
    root = Block(name)
    for path, milliseconds, multiply_adds in layers:
        block = root
        for step in (None, *path[:depth]):
            if step is not None:
                block = block.parts.setdefault(step, Block(step))
            block.milliseconds += milliseconds
            block.multiply_adds += multiply_adds
    return root
