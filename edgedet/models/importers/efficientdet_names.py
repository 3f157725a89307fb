"""Where a variable stands in an EfficientDet, for importers that know other names for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import keras

from edgedet.errors import InvalidInputError
from edgedet.models.pyramids import bifpn_nodes

# Names of our layers, most particular first.
_LAYERS = {
    "stem": r"stem_(?P<part>conv|bn)",
    "block": r"stage_(?P<stage>\d+)_block_(?P<block>\d+)_(?P<part>\w+)",
    "entry": r"bifpn_entry_(?P<level>\d+)_(?P<part>conv|bn)",
    "edge": r"bifpn_(?P<stack>\d+)_node_(?P<node>\d+)_from_(?P<source>\d+)_(?P<part>conv|bn)",
    "fusion": r"bifpn_(?P<stack>\d+)_node_(?P<node>\d+)_fusion",
    "node": r"bifpn_(?P<stack>\d+)_node_(?P<node>\d+)_(?P<part>depthwise|conv|bn)",
    # The exits of an anytime network all start from the one set of statistics.
    "head_bn": r"(?P<head>class|box)_head_(?P<layer>\d+)(?:_stack_\d+)?_level_(?P<level>\d+)_bn",
    "head": r"(?P<head>class|box)_head_(?P<layer>\d+)_(?P<part>depthwise|pointwise)",
    "predictor": r"(?P<head>class|box)_predictor_(?P<part>depthwise|pointwise)",
}
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _LAYERS.items()}
_BACKBONE = ("stem", "block")


@dataclass(frozen=True)
class Place:
    """Where a variable stands.

    Attributes:
        kind: of its layer: stem, block, entry, edge, fusion, node, head_bn, head or predictor.
        variable: kernel, bias, gamma, beta, ...
        names: the words of its layer's name that its kind has: `part`, `head`.
        numbers: the numbers of its layer's name that its kind has: `stage`, `block` (within its
            stage), `stack`, `node` (entry maps count), `source`, `level`, `layer`; and for a block
            `overall`, counted through all stages, for a node `fnode`, entry maps not counted, for
            an edge `input`, the place of its source among the node's inputs.
        inputs: sources of a fusion, in its order.
    """

    kind: str
    variable: str
    names: Mapping[str, str]
    numbers: Mapping[str, int]
    inputs: tuple[int, ...] = ()


class Places:
    """Finds the places of the variables of one network.

    Args:
        network: one of our EfficientDets; any network on an EfficientNet for the backbone only.
        backbone_only: whether pyramid and heads are left out.

    Raises:
        InvalidInputError: the network is none.
    """

    def __init__(self, network: keras.Model, *, backbone_only: bool = False) -> None:
        self.kinds = _BACKBONE if backbone_only else tuple(_PATTERNS)
        names = [layer.name for layer in network.layers]
        blocks = dict.fromkeys(
            (int(match["stage"]), int(match["block"])) for match in _matches("block", names)
        )
        self.blocks = {block: overall for overall, block in enumerate(sorted(blocks))}
        nodes = [int(match["node"]) for match in _matches("node", names)]
        if not blocks or not (nodes or backbone_only):
            raise InvalidInputError(f"The network {network.name} is no EfficientDet; choose one.")
        self.entries = min(nodes, default=0)
        self.table = bifpn_nodes(range(self.entries)) if nodes else ()

    def find(self, path: str) -> Place | None:
        """The place of the variable `layer/variable`; None for one that is left out."""
        layer, _, variable = path.partition("/")
        for kind in self.kinds:
            if match := _PATTERNS[kind].fullmatch(layer):
                groups = match.groupdict()
                words = {key: value for key, value in groups.items() if not value.isdecimal()}
                numbers = {key: int(value) for key, value in groups.items() if value.isdecimal()}
                inputs: tuple[int, ...] = ()
                if kind == "block":
                    numbers["overall"] = self.blocks[numbers["stage"], numbers["block"]]
                if "node" in numbers:
                    numbers["fnode"] = numbers["node"] - self.entries
                    inputs = self.table[numbers["fnode"]].inputs
                if "source" in numbers:
                    numbers["input"] = inputs.index(numbers["source"])
                return Place(kind, variable, words, numbers, inputs)
        return None

    def depends_on_classes(self, path: str) -> bool:
        """Whether the shape of the variable `layer/variable` follows from the number of classes."""
        return path.startswith("class_predictor_pointwise/")


def _matches(kind: str, names: Iterable[str]) -> Iterable[re.Match[str]]:
    found = (_PATTERNS[kind].fullmatch(name) for name in names)
    return [match for match in found if match]
