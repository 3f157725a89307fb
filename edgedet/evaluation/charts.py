"""Charts as inline SVG, coloured by the page's style sheet so that they suit light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluation.page import escaped, shortened

_PAGE_WIDTH = 1030
_WIDTH, _HEIGHT = 560, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart.

    Attributes:
        name: shown when the pointer rests on it.
        x: [T], 0..1.
        y: [T], 0..1; NaN interrupts the line.
        style: class of the style sheet.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    style: str


@dataclass(frozen=True)
class Mark:
    """A vertical line with a caption, at `x` from 0 to 1."""

    x: float
    caption: str


def line_chart(
    lines: Sequence[Line], *, x_label: str, y_label: str, title: str, marks: Sequence[Mark] = ()
) -> str:
    """Lines over axes from 0 to 1; later lines lie on top."""
    parts = [_open(_WIDTH, _HEIGHT, title), _axes(x_label, y_label)]
    for position, mark in enumerate(marks):
        x = _x(mark.x)
        # Captions stand on the side with more room, one below the other.
        anchor, shift = ("start", 5) if mark.x < 0.6 else ("end", -5)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{_y(0)}" y2="{_y(1)}"/>')
        parts.append(
            f'<text class="tick" x="{x + shift}" y="{_y(0) - 10 - 16 * position}" '
            f'text-anchor="{anchor}">{escaped(mark.caption)}</text>'
        )
    for line in lines:
        for run in _runs(line.x, line.y):
            parts.append(
                f'<polyline class="line {line.style}" points="{run}">'
                f"<title>{escaped(line.name)}</title></polyline>"
            )
    return "".join([*parts, "</svg>"])


def reliability_chart(bins: Sequence[tuple[float, int, float, float]], *, title: str) -> str:
    """Precision of each bin of confidence beside the diagonal.

    Args:
        bins: least confidence, count, mean confidence and precision of each tenth.
        title: what the chart shows, for those who can't see it.
    """
    parts = [_open(_WIDTH, _HEIGHT, title), _axes("Confidence", "Share that is right")]
    for low, count, confidence, precision in bins:
        if count:
            left, right = _x(low) + 3, _x(low + 0.1) - 3
            parts.append(
                f'<rect class="bar" x="{left:.1f}" y="{_y(precision):.1f}" '
                f'width="{right - left:.1f}" height="{_y(0) - _y(precision):.1f}">'
                f"<title>{count} detections of confidence {confidence:.2f} on average: "
                f"{precision:.0%} right</title></rect>"
            )
    parts.append(f'<line class="mark" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/></svg>')
    return "".join(parts)


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Lines and their names.

    Args:
        entries: (class of the style sheet, name).
    """
    listed = "".join(
        f'<li><svg viewBox="0 0 22 10"><path class="line {style}" d="M0 5H22"/></svg>'
        f"{escaped(text)}</li>"
        for style, text in entries
    )
    return f'<ul class="key">{listed}</ul>'


def heat_map(labels: Sequence[str], counts: NDArray[np.int64], shares: NDArray[np.float64]) -> str:
    """A confusion matrix: rows are the truth, columns what was detected.

    Args:
        labels: the classes; the last row and column are the background's.
        counts: [K + 1, K + 1].
        shares: counts as shares of their row.
    """
    size = len(labels) + 1
    names = [shortened(label, 18) for label in labels]
    margin = max(80, 6 * max(map(len, names), default=0) + 16)
    fitting = (_PAGE_WIDTH - margin) // size
    cell = 36 if size <= 12 else 26 if size <= 24 else max(9, min(13, fitting))
    extent = margin + size * cell
    turn = -90 if cell <= 13 else -60
    kind = "small" if cell <= 13 else "medium" if cell == 26 else "large"
    parts = [_open(extent + 32, extent + 8, "Confusion matrix", f"matrix {kind}")]
    for position, (row_name, column_name) in enumerate(
        zip([*names, "background"], [*names, "missed"], strict=True)
    ):
        middle = margin + (position + 0.5) * cell
        parts.append(
            f'<text class="tick" x="{margin - 6}" y="{middle:.1f}" text-anchor="end" '
            f'dominant-baseline="central">{escaped(row_name)}</text>'
            f'<text class="tick" transform="translate({middle:.1f} {margin - 6}) rotate({turn})" '
            f'dominant-baseline="central">{escaped(column_name)}</text>'
        )
    for row in range(size):
        for column in range(size):
            parts.append(_cell(labels, counts, shares, row, column, margin, cell))
    edge = margin + (size - 1) * cell
    parts.append(
        f'<path class="edge" d="M{margin} {edge}H{extent}M{edge} {margin}V{extent}"/></svg>'
    )
    return "".join(parts)


def barred(share: float, figure: str, style: str = "") -> str:
    """A figure for a table's cell, and before it a bar, `share` of its width long."""
    width = 100 * min(max(share, 0.0), 1.0)
    return (
        f'<span class="track"><span class="fill {style}" style="width:{width:.1f}%"></span></span> '
        f'<span class="figure">{figure}</span>'
    )


def _cell(
    labels: Sequence[str],
    counts: NDArray[np.int64],
    shares: NDArray[np.float64],
    row: int,
    column: int,
    margin: int,
    cell: int,
) -> str:
    count, share = int(counts[row, column]), float(shares[row, column])
    last = len(labels)
    if not count:
        return ""
    x, y = margin + column * cell, margin + row * cell
    style = "hit" if row == column else "false" if row == last else "miss"
    if row == last:
        said = f"{count} detections of {labels[column]} that found no object"
    elif column == last:
        said = f"{count} of {labels[row]} not detected ({share:.1%})"
    elif row == column:
        said = f"{count} of {labels[row]} right ({share:.1%})"
    else:
        said = f"{count} of {labels[row]} taken for {labels[column]} ({share:.1%})"
    # The root spreads small shares, which are the mistakes.
    text = ""
    if cell > 13:
        middle = f'x="{x + cell / 2}" y="{y + cell / 2}"'
        dark = " on" if share > 0.3 else ""
        text = (
            f'<text class="n{dark}" {middle}>{count}</text>'
            f'<text class="s{dark}" {middle}>{_percent(share)}</text>'
        )
    return (
        f'<g><title>{escaped(said)}</title><rect class="{style}" x="{x + 0.5}" y="{y + 0.5}" '
        f'width="{cell - 1}" height="{cell - 1}" fill-opacity="{share**0.5:.2f}"/>{text}</g>'
    )


def _percent(share: float) -> str:
    return "<1" if share < 0.01 else f"{100 * share:.0f}"


def _open(width: int, height: int, title: str, style: str = "chart") -> str:
    return (
        f'<svg class="{style}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escaped(title)}">'
    )


def _axes(x_label: str, y_label: str) -> str:
    parts = []
    for step in range(0, 11, 2):
        value = step / 10
        x, y = _x(value), _y(value)
        parts.append(
            f'<path class="grid" d="M{x} {_y(0)}V{_y(1)}M{_x(0)} {y}H{_x(1)}"/>'
            f'<text class="tick" x="{x}" y="{_y(0) + 16}" text-anchor="middle">{value:.1f}</text>'
            f'<text class="tick" x="{_x(0) - 7}" y="{y + 4}" text-anchor="end">{value:.1f}</text>'
        )
    middle = (_y(0) + _y(1)) / 2
    parts.append(
        f'<text class="axis" x="{(_x(0) + _x(1)) / 2}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">{escaped(x_label)}</text>'
        f'<text class="axis" transform="translate(12 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escaped(y_label)}</text>'
    )
    return "".join(parts)


def _x(value: float) -> float:
    return round(_LEFT + value * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(value: float) -> float:
    return round(_HEIGHT - _BOTTOM - value * (_HEIGHT - _TOP - _BOTTOM), 1)


def _runs(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[str]:
    """The points of each unbroken stretch."""
    known = np.isfinite(y)
    breaks = np.flatnonzero(np.diff(known.astype(np.int8))) + 1
    runs = []
    for part in np.split(np.arange(len(y)), breaks):
        if len(part) and known[part[0]]:
            runs.append(" ".join(f"{_x(x[at])},{_y(y[at])}" for at in part.tolist()))
    return runs
