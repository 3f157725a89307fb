"""The change from an earlier evaluation, for the HTML report."""

from __future__ import annotations

from collections.abc import Mapping

from edgedet.evaluation.comparison import Change, Comparison
from edgedet.evaluation.page import Cell, escaped, name_of, score_cell, section, shortened, table
from edgedet.evaluation.points import points, signed


def comparison_section(comparison: Comparison) -> str:
    """Tables of the change: overall, by object size and by class."""
    lead = (
        f"Before: <bdi>{escaped(shortened(comparison.before))}</bdi>. "
        f"Now: <bdi>{escaped(shortened(comparison.after))}</bdi>. Points of 100."
    )
    remarks = "".join(f'<p class="down">{escaped(text)}</p>' for text in comparison.remarks)
    overall = table(
        ["metric", "before", "now", "change"],
        [
            [name, points(change.before), points(change.after), _delta(change)]
            for name, change in comparison.metrics.items()
        ],
    )
    sizes = table(
        ["objects", "AP before", "AP now", "change", "AP50", "AR100"],
        [
            [
                size,
                points(of_size["AP"].before),
                points(of_size["AP"].after),
                _delta(of_size["AP"]),
                _delta(of_size["AP50"]),
                _delta(of_size["AR100"]),
            ]
            for size, of_size in comparison.per_size.items()
        ],
    )
    names = ["class", "AP before", "AP now", "change", "AP50", "small", "medium", "large"]
    classes = table(
        names,
        [
            [
                name_of(label),
                score_cell(of_class["AP"].before),
                score_cell(of_class["AP"].after),
                *(_delta(of_class[name]) for name in ("AP", "AP50", "APs", "APm", "APl")),
            ]
            for label, of_class in sorted(comparison.per_class.items(), key=_loss)
        ],
        sortable=True,
    )
    return section(
        "Against the baseline",
        remarks,
        f'<div class="columns"><div>{overall}</div><div>{sizes}</div></div>',
        "<h3>Classes, the largest loss first</h3>",
        classes,
        lead=lead,
    )


def change_line(change: Change) -> str:
    """The change for a card, as its last line; empty where it isn't known."""
    if change.difference is None:
        return ""
    style = "up" if change.difference >= 0 else "down"
    return f'</span><span class="{style}">{signed(change.difference)} against the baseline'


def _delta(change: Change) -> Cell:
    difference = change.difference
    shown = signed(difference)
    style = "up" if shown.startswith("+") else "down" if shown.startswith("−") else ""
    return Cell(shown, -9 if difference is None else difference, style)


def _loss(item: tuple[str, Mapping[str, Change]]) -> float:
    difference = item[1]["AP"].difference
    return 9.0 if difference is None else difference
