"""Charts of measurements as inline SVG.

They are coloured by the style sheet of the page they stand in, so that they suit light and dark;
`STYLE` holds what the style sheet of edgedet's reports lacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.benchmarks.blocks import Block
from edgedet.evaluation.charts import legend
from edgedet.evaluation.page import escaped, shortened

STYLE = """
.dot { fill: var(--card); stroke-width: 3; } .best { fill: var(--ink); }
svg .label { font-size: 12px; } .front { fill: none; stroke: var(--soft); stroke-dasharray: 3 4; }
.halo { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.block rect { fill: var(--accent); stroke: var(--card); } .block:hover rect { fill: var(--hit); }
.block.idle rect { fill: var(--soft); }
svg .block text { font-size: 11px; pointer-events: none; } figure + .scroll { margin-top: 16px; }
"""

COLOURS = 6

# Half of the page, and all of it.
_NARROW, _WIDE = 560, 1000
_HEIGHT = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 16, 24, 42
_LETTER = 6.6

_ICICLE_WIDTH, _ROW = 1030, 26


@dataclass(frozen=True)
class Point:
    """A measured detector in the plane of time and accuracy.

    Attributes:
        x: milliseconds.
        y: AP in points of 100.
        label: its name.
        colour: number of its colour.
        on_frontier: whether no other is better in both.
    """

    x: float
    y: float
    label: str
    colour: int
    on_frontier: bool


@dataclass(frozen=True)
class Series:
    """A line through points, with a name and the number of its colour."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int


class _Frame:
    """Axes with round numbers around the values, and where a value lies between them."""

    def __init__(
        self, x: Sequence[float], y: Sequence[float], width: int, *, whole: bool = False
    ) -> None:
        self.width = width
        self.x_ticks, self.y_ticks = ticks(x), ticks(y)
        if whole:
            self.x_ticks = [float(n) for n in range(math.floor(min(x)), math.ceil(max(x)) + 1)]

    def across(self, value: float) -> float:
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return round(_LEFT + (value - low) / (high - low) * (self.width - _LEFT - _RIGHT), 1)

    def up(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return round(
            _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1
        )

    def drawn(self, x_label: str, y_label: str) -> str:
        bottom, parts = _HEIGHT - _BOTTOM, []
        for value in self.x_ticks:
            parts.append(
                f'<path class="grid" d="M{self.across(value)} {bottom}V{_TOP}"/>'
                f'<text class="tick" x="{self.across(value)}" y="{bottom + 16}" '
                f'text-anchor="middle">{value:g}</text>'
            )
        for value in self.y_ticks:
            parts.append(
                f'<path class="grid" d="M{_LEFT} {self.up(value)}H{self.width - _RIGHT}"/>'
                f'<text class="tick" x="{_LEFT - 7}" y="{self.up(value) + 4}" '
                f'text-anchor="end">{value:g}</text>'
            )
        middle = (_TOP + bottom) / 2
        parts.append(
            f'<text class="axis" x="{(_LEFT + self.width - _RIGHT) / 2}" y="{_HEIGHT - 6}" '
            f'text-anchor="middle">{escaped(x_label)}</text>'
            f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" '
            f'text-anchor="middle">{escaped(y_label)}</text>'
        )
        return "".join(parts)


def ticks(values: Sequence[float], count: int = 5) -> list[float]:
    """About `count` round numbers that enclose the values, evenly spaced."""
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(abs(low), abs(high), 1):
        margin = 0.1 * abs(low) or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def accuracy_chart(points: Sequence[Point], *, x_label: str, y_label: str, title: str) -> str:
    """Detectors by time and accuracy; a dotted line joins those that no other beats."""
    frame = _Frame([0, *(point.x for point in points)], [point.y for point in points], _WIDE)
    parts = [_open(_WIDE, _HEIGHT, title), frame.drawn(x_label, y_label)]
    front = sorted((point for point in points if point.on_frontier), key=lambda point: point.x)
    joined = " ".join(f"{frame.across(point.x)},{frame.up(point.y)}" for point in front)
    parts.append(f'<polyline class="front" points="{joined}"/>')
    # No label on another's dot.
    taken = [
        (x - 7, x + 7, y - 7, y + 7)
        for x, y in ((frame.across(point.x), frame.up(point.y)) for point in points)
    ]
    for point in sorted(points, key=lambda point: (-point.y, point.x)):
        x, y = frame.across(point.x), frame.up(point.y)
        told = f"{point.label}: {point.x:.2f} ms, AP {point.y:.1f}"
        parts.append(
            f'<circle class="dot c{point.colour % COLOURS}" cx="{x}" cy="{y}" r="5">'
            f"<title>{escaped(told)}</title></circle>"
        )
        left, baseline = _label_place(point.label, x, y, taken)
        # Ends at its dot where it stands before it, however wide the letters turn out.
        end = left + _label_width(point.label)
        place = f'x="{left:.1f}"' if left > x else f'x="{end:.1f}" text-anchor="end"'
        parts.append(
            f'<text class="label halo" {place} y="{baseline:.1f}">'
            f"{escaped(shortened(point.label, 44))}</text>"
        )
    return "".join([*parts, "</svg>"])


def histogram(values: Sequence[float], *, title: str) -> str:
    """How often calls took how long, with marks at p50 and p99.

    The slowest hundredth is not drawn: a single call that the system held up would squeeze all
    others into one bar. Their number and the longest are told.

    Args:
        values: milliseconds of each call.
        title: what the chart shows, for those who can't see it.
    """
    calls = np.asarray(values, np.float64)
    p50, p99 = (float(value) for value in np.percentile(calls, (50, 99)))
    shown = calls[calls <= p99] if len(calls) >= 100 else calls
    bins = int(np.clip(np.sqrt(len(shown)) * 1.5, 8, 40))
    low, high = float(shown.min()), float(shown.max())
    if high - low < 1e-6 * high:
        low, high = 0.95 * low, 1.05 * high
    counts, edges = np.histogram(shown, bins, (low, high))
    frame = _Frame([low, high], [0, float(counts.max())], _NARROW)
    parts = [_open(_NARROW, _HEIGHT, title), frame.drawn("milliseconds", "calls")]
    for count, left, right in zip(
        counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True
    ):
        if count:
            start, end = frame.across(left) + 0.5, frame.across(right) - 0.5
            parts.append(
                f'<rect class="bar" x="{start:.1f}" y="{frame.up(count)}" '
                f'width="{max(end - start, 0.5):.1f}" height="{frame.up(0) - frame.up(count):.1f}">'
                f"<title>{count} calls from {left:.3f} to {right:.3f} ms</title></rect>"
            )
    near = frame.across(p99) - frame.across(p50) < 80
    for name, value, anchor in (
        ("p50", p50, "end" if near else "middle"),
        ("p99", p99, "start" if near else "middle"),
    ):
        x = frame.across(value)
        parts.append(
            f'<line class="mark" x1="{x}" x2="{x}" y1="{frame.up(0)}" y2="{_TOP}"/>'
            f'<text class="tick" x="{x}" y="{_TOP - 7}" text-anchor="{anchor}">'
            f"{name} {value:.2f}</text>"
        )
    beyond = len(calls) - len(shown)
    if beyond:
        parts.append(
            f'<text class="tick halo" x="{_NARROW - _RIGHT}" y="{_TOP + 16}" text-anchor="end">'
            f"{beyond} more, up to {calls.max():.2f}</text>"
        )
    return "".join([*parts, "</svg>"])


def line_chart(
    lines: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str,
    wide: bool = False,
    whole: bool = False,
) -> str:
    """Lines over axes, of which the upright one begins at 0.

    Args:
        lines: the lines; dots mark their points where they are few.
        x_label: what runs across.
        y_label: what runs upwards.
        title: what the chart shows, for those who can't see it.
        wide: whether it takes the page's whole width.
        whole: whether only whole numbers run across.
    """
    across = [value for line in lines for value in line.x]
    width = _WIDE if wide else _NARROW
    frame = _Frame(across, [0, *(value for line in lines for value in line.y)], width, whole=whole)
    parts = [_open(width, _HEIGHT, title), frame.drawn(x_label, y_label)]
    for line in lines:
        colour = f"c{line.colour % COLOURS}" + (" dash" if line.colour >= COLOURS else "")
        places = [(frame.across(x), frame.up(y)) for x, y in zip(line.x, line.y, strict=True)]
        joined = " ".join(f"{x},{y}" for x, y in places)
        parts.append(
            f'<polyline class="line {colour}" points="{joined}">'
            f"<title>{escaped(line.name)}</title></polyline>"
        )
        if len(places) <= 12:
            parts += [
                f'<circle class="dot {colour}" cx="{x}" cy="{y}" r="3.5"/>' for x, y in places
            ]
    return "".join([*parts, "</svg>"])


def colour_key(names: Sequence[tuple[str, int]]) -> str:
    """The names of lines or dots beside their colours."""
    return legend(
        [
            (f"c{place % COLOURS}{' dash' if place >= COLOURS else ''}", name)
            for name, place in names
        ]
    )


def icicle(root: Block, *, peak: float, title: str, depth: int = 3) -> str:
    """Blocks below the whole that they are parts of, as wide as the time spent in them.

    The deeper the colour, the nearer the block's multiply-adds per second to the peak; grey blocks
    multiply nothing.

    Args:
        root: the network.
        peak: multiply-adds per second that the processor can do.
        title: what the chart shows, for those who can't see it.
        depth: rows below the whole.
    """
    parts = [_open(_ICICLE_WIDTH, _ROW * (depth + 1), title)]

    def draw(block: Block, left: float, width: float, row: int) -> None:
        if width < 0.7:
            return
        share = block.milliseconds / root.milliseconds if root.milliseconds else 0.0
        rate = 1e3 * block.multiply_adds / block.milliseconds if block.milliseconds else 0.0
        told = f"{block.name}: {block.milliseconds:.3f} ms, {share:.1%}"
        if block.multiply_adds:
            told += (
                f", {block.multiply_adds / 1e6:.2f} M multiply-adds, "
                f"{rate / 1e9:.1f} G/s, {rate / peak:.0%} of the peak"
            )
        strength = 0.18 + 0.5 * min(1.0, rate / peak) ** 0.5 if block.multiply_adds else 0.22
        letters = int((width - 8) / _LETTER)
        text = shortened(f"{block.name} {share:.0%}" if share >= 0.005 else block.name, letters)
        if letters < min(4, len(block.name)):
            text = ""
        style = "block" if block.multiply_adds else "block idle"
        parts.append(
            f'<g class="{style}"><title>{escaped(told)}</title><rect x="{left:.1f}" '
            f'y="{row * _ROW}" width="{width:.1f}" height="{_ROW - 1}" '
            f'fill-opacity="{strength:.2f}"/>'
            f'<text x="{left + 4:.1f}" y="{row * _ROW + 17}">{escaped(text)}</text></g>'
        )
        if row < depth and block.milliseconds > 0:
            for part in block.parts.values():
                wide = width * part.milliseconds / block.milliseconds
                draw(part, left, wide, row + 1)
                left += wide

    draw(root, 0.0, float(_ICICLE_WIDTH), 0)
    return "".join([*parts, "</svg>"])


def _label_place(
    label: str, x: float, y: float, taken: list[tuple[float, float, float, float]]
) -> tuple[float, float]:
    """Where a label covers no other: beside its dot, else a little higher or lower."""
    width = _label_width(label)
    sides = [x + 10, x - 10 - width]
    places = [
        (left, y + 4 + shift)
        for shift in (0, -14, 14, -28, 28, -42, 42, -56, 56)
        for left in sides
        if _LEFT <= left <= _WIDE - width and _TOP < y + shift < _HEIGHT - _BOTTOM
    ] or [(float(_LEFT), y - 10)]

    def free(left: float, baseline: float) -> bool:
        return all(
            left + width < other or left > end or baseline < top or baseline - 13 > bottom
            for other, end, top, bottom in taken
        )

    left, baseline = next((place for place in places if free(*place)), places[0])
    taken.append((left, left + width, baseline - 12, baseline))
    return left, baseline


def _label_width(label: str) -> float:
    return _LETTER * len(shortened(label, 44))


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escaped(title)}">'
    )
