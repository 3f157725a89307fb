"""Draw a table of nodes as the papers draw it: a row for each level, arrows from the inputs.

Nothing here imports matplotlib: the caller brings the axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import InvalidInputError
from edgedet.models.eff_spinenet import LEVELS, NODES, EffSpineNet, round_width
from edgedet.models.graph import Node, leftovers
from edgedet.models.presets import Preset
from edgedet.models.pyramids import FPN, BiFPN
from edgedet.models.spinenet_mobile import LEVEL_WIDTHS, SpineNetMobile

Axes = Any
"""matplotlib's; this room doesn't import it."""

Point = tuple[float, float]

# From level 1 up: Okabe and Ito's palette, dark enough for white text.
_COLOURS = (
    "#777777", "#3B8FC2", "#B57700", "#00805F", "#A8528A", "#0062A0", "#C25400", "#6B5D00",
)  # fmt: skip
_OUTLINE = "#B3001B"
_OPS = {"global_pooling": "GP"}

# One unit of the drawing in inches, and a node's diameter in points.
_UNIT = 0.82
_DIAMETER = 34.0
_RADIUS = _DIAMETER / 72 / _UNIT / 2
_CURVATURES = (0.0, 0.12, -0.12, 0.2, -0.2, 0.3, -0.3, 0.42, -0.42, 0.55, -0.55)


@dataclass(frozen=True)
class Diagram:
    """What is drawn.

    Attributes:
        title: of the picture.
        subtitle: what all nodes have in common.
        entries: levels of the entry maps, ids 0 to len(entries) - 1.
        nodes: the table.
        widths: channels of the nodes by id; what is not in it is not printed.
        compact: whether a column may hold nodes of neighbouring levels, as in the figures of FPN
            and BiFPN; else each node has a column of its own.
        stacks: how many times the table is repeated.
    """

    title: str
    subtitle: str
    entries: tuple[int, ...]
    nodes: tuple[Node, ...]
    widths: Mapping[int, int]
    compact: bool = False
    stacks: int = 1

    @property
    def levels(self) -> tuple[int, ...]:
        """Level of each node, entry maps first."""
        return (*self.entries, *(node.level for node in self.nodes))

    def edges(self) -> list[tuple[int, int, bool]]:
        """(source, target, whether it is a leftover) of every edge, as `walk` builds them."""
        first = len(self.entries)
        found = [
            (source, target, False)
            for target, node in enumerate(self.nodes, start=first)
            for source in node.inputs
        ]
        for target, sources in leftovers(self.nodes, self.entries).items():
            found += [
                (source, target, True)
                for source in sources
                if self.widths.get(source) == self.widths.get(target)
                or not {source, target} <= self.widths.keys()
            ]
        return found


def diagram(preset: Preset) -> Diagram:
    """The diagram of a preset's pyramid, or of its backbone where that is the pyramid.

    Raises:
        InvalidInputError: the preset has neither a pyramid nor a backbone made of a table.
    """
    pyramid = preset.pyramid
    if pyramid is None:
        return _backbone_diagram(preset)
    entries, nodes = pyramid.table(range(preset.levels[0], preset.levels[1] + 1))
    stacks = preset.exit or pyramid.stacks
    kind = {"FPN": "FPN", "BiFPN": "BiFPN"}.get(type(pyramid).__name__, "NAS-FPN")
    subtitle = f"{kind}, {pyramid.width} channels"
    if any(node.op == "global_pooling" for node in nodes):
        subtitle += ", GP: global pooling"
    if isinstance(pyramid, BiFPN):
        subtitle += f", fusion: {pyramid.fusion}"
    if stacks > 1:
        subtitle += f"; one of {stacks} stacked"
    first = len(entries)
    return Diagram(
        preset.name,
        subtitle,
        entries,
        nodes,
        dict.fromkeys(range(first, first + len(nodes)), pyramid.width),
        compact=isinstance(pyramid, (FPN, BiFPN)),
        stacks=stacks,
    )


def _backbone_diagram(preset: Preset) -> Diagram:
    backbone = preset.backbone
    if isinstance(backbone, EffSpineNet):
        kind = "Eff-SpineNet"
        widths = [round_width(width * backbone.width) for width in backbone.widths]
        weighted = backbone.weighted_fusion
    elif isinstance(backbone, SpineNetMobile):
        kind, weighted = "Mobile SpineNet", False
        widths = [int(LEVEL_WIDTHS[level] * backbone.width) for level in LEVELS]
    else:
        raise InvalidInputError(f"{preset.name} is made of no table of nodes that could be drawn.")
    fusion = "weighted sum" if weighted else "sum"
    return Diagram(
        preset.name,
        f"{kind}'s scale-permuted backbone, fusion: {fusion}; below each id: channels",
        LEVELS[: len(LEVELS) - len(NODES)],
        NODES,
        dict(enumerate(widths)),
    )


def columns(drawn: Diagram) -> list[int]:
    """Column of each node, entry maps first; an edge never leads to the left."""
    levels = drawn.levels
    first = len(drawn.entries)
    if not drawn.compact:
        # Entry maps made one from the other, as a backbone's are, take a column each too.
        start = [0] * first if first > 2 else list(range(first))
        return start + [start[-1] + 1 + place for place in range(len(drawn.nodes))]
    found = [0] * first
    for target, node in enumerate(drawn.nodes, start=first):
        after = [found[source] + _apart(levels, source, target) for source in node.inputs]
        level = [found[other] + 1 for other in range(target) if levels[other] == node.level]
        found.append(max(after + level))
    # Outputs stand together on the right, where nothing keeps them from it.
    last = max(found)
    edges = drawn.edges()
    for source in reversed(range(first, len(found))):
        if drawn.nodes[source - first].output:
            users = [found[b] - _apart(levels, a, b) for a, b, _ in edges if a == source]
            found[source] = min([last, *users])
    return found


def _apart(levels: Sequence[int], source: int, target: int) -> int:
    """0 where an arrow between the two may be vertical: nothing lies between."""
    return 0 if abs(levels[source] - levels[target]) == 1 else 1


def positions(drawn: Diagram) -> list[Point]:
    """(x, y) of each node in units of the drawing; y is the level."""
    stride = 1.5 if drawn.compact else 1.0
    return [
        (column * stride, float(level))
        for column, level in zip(columns(drawn), drawn.levels, strict=True)
    ]


def curvatures(drawn: Diagram) -> list[float]:
    """How much each of `Diagram.edges` is bent, as a part of its length, to pass other nodes by.

    The bend is that of a quadratic curve, whose control point lies beside the middle of the edge.
    """
    places = np.array(positions(drawn))
    bends = []
    for source, target, _ in drawn.edges():
        others = np.delete(places, [source, target], axis=0)
        costs = [_cost(places[source], places[target], others, bend) for bend in _CURVATURES]
        bends.append(_CURVATURES[costs.index(min(costs))])
    return bends


def _cost(start: NDArray[Any], end: NDArray[Any], others: NDArray[Any], bend: float) -> float:
    """How bad an edge of this bend looks beside the `others`, points [nodes, 2]."""
    distance = np.linalg.norm(_curve(start, end, bend)[:, None] - others, axis=-1).min(axis=0)
    # A node crossed is worse than any bend; one grazed is worse than some.
    crossed = (distance < 1.15 * _RADIUS).sum()
    grazed = (distance < 1.4 * _RADIUS).sum()
    return float(10 * crossed + 0.15 * grazed + abs(bend))


def _curve(start: NDArray[Any], end: NDArray[Any], bend: float) -> NDArray[np.float64]:
    along = end - start
    control = (start + end) / 2 + bend * np.array([along[1], -along[0]])
    t = np.linspace(0, 1, 41)[:, None]
    curve: NDArray[np.float64] = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    return curve


def figure_size(drawn: Diagram) -> tuple[float, float]:
    """Width and height in inches that `draw` needs."""
    places = np.array(positions(drawn))
    width, height = _UNIT * (places.max(axis=0) - places.min(axis=0) + 1)
    return max(6.4, float(width) + 2.0), float(height) + 1.7


def draw(drawn: Diagram, axes: Axes) -> None:
    """Draw on matplotlib axes, in a figure of `figure_size`.

    Levels are rows, the coarsest on top; columns follow the order of computation. Entry maps are
    squares, outputs have a red outline, leftover edges (see `edgedet.models.graph.leftovers`) are
    dashed. A node shows its id and, where they differ from node to node, its merge or its width.
    """
    places = positions(drawn)
    levels = drawn.levels
    first = len(drawn.entries)
    for level in sorted(set(levels)):
        axes.axhline(level, color="#E8E8E8", linewidth=1, zorder=0)
    for (source, target, leftover), bend in zip(drawn.edges(), curvatures(drawn), strict=True):
        axes.annotate(
            "",
            places[target],
            places[source],
            zorder=1,
            arrowprops={
                "arrowstyle": "-|>",
                "connectionstyle": f"arc3,rad={bend}",
                "color": _colour(levels[source]),
                "linestyle": "--" if leftover else "-",
                "linewidth": 1.4,
                "shrinkA": 0,
                "shrinkB": _DIAMETER / 2 + 1,
            },
        )
    for identity, (x, y) in enumerate(places):
        entry = identity < first
        output = not entry and drawn.nodes[identity - first].output
        axes.scatter(
            [x],
            [y],
            s=_DIAMETER**2,
            marker="s" if entry else "o",
            color="white" if entry else _colour(levels[identity]),
            edgecolor=_OUTLINE if output else _colour(levels[identity]),
            linewidth=2.5 if output else 1.5,
            zorder=2,
        )
        axes.text(
            x,
            y,
            _label(drawn, identity),
            ha="center",
            va="center",
            fontsize=7.5,
            linespacing=1.1,
            color="black" if entry else "white",
            fontweight="bold",
            zorder=3,
        )
    _frame(drawn, axes, places)


def _colour(level: int) -> str:
    return _COLOURS[min(max(level, 1), len(_COLOURS)) - 1]


def _label(drawn: Diagram, identity: int) -> str:
    first = len(drawn.entries)
    lines = [str(identity)]
    if identity >= first and len({node.op for node in drawn.nodes}) > 1:
        op = drawn.nodes[identity - first].op
        lines.append(_OPS.get(op, op))
    if identity in drawn.widths and len(set(drawn.widths.values())) > 1:
        lines.append(str(drawn.widths[identity]))
    return "\n".join(lines)


def _frame(drawn: Diagram, axes: Axes, places: Sequence[Point]) -> None:
    """Title, scales, legend, and the number of stacks."""
    rows = sorted(set(drawn.levels))
    right = max(x for x, _ in places)
    axes.set_title(f"{drawn.title}\n{drawn.subtitle}", fontsize=10)
    axes.set_yticks(rows, [f"P{level}\nstride {2**level}" for level in rows], fontsize=8)
    axes.set_xticks([])
    axes.set_xlabel("order of computation \N{RIGHTWARDS ARROW}", fontsize=8)
    axes.set_xlim(-0.6, right + (1.3 if drawn.stacks > 1 else 0.6))
    axes.set_ylim(rows[0] - 0.6, rows[-1] + 0.6)
    axes.set_aspect("equal")
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    if drawn.stacks > 1:
        axes.text(
            right + 1.25, rows[-1], f"\N{MULTIPLICATION SIGN} {drawn.stacks}",
            ha="right", va="center", fontsize=15, fontweight="bold",
        )  # fmt: skip
    grey = "#777777"
    keys = [
        axes.scatter([], [], s=90, marker="s", color="white", edgecolor=grey, label="entry map"),
        axes.scatter([], [], s=90, color=grey, label="node"),
        axes.scatter(
            [], [], s=90, color=grey, edgecolor=_OUTLINE, linewidth=2, label="output, to the heads"
        ),
        *axes.plot([], [], color=grey, label="input"),
    ]
    if any(leftover for _, _, leftover in drawn.edges()):
        keys += axes.plot([], [], "--", color=grey, label="leftover, merged as well")
    axes.legend(
        handles=keys,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.06),
        ncols=len(keys),
        fontsize=8,
        frameon=False,
        handletextpad=0.5,
        columnspacing=1.2,
    )
