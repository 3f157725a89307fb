"""The record of a run: `results.csv`, one row an epoch, and its plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedet.files import replacing, write_text


def write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the epochs' rows; an epoch without validation leaves its metrics empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw losses, validation AP and learning rate over the epochs into a PNG."""
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    losses, accuracy, rate = figure.subplots(1, 3)
    for name, color in (
        ("loss", "#000000"),
        ("class_loss", "#0072B2"),
        ("box_loss_x50", "#D55E00"),
    ):
        values = [50 * row["box_loss"] if name == "box_loss_x50" else row[name] for row in rows]
        losses.plot(epochs, values, ".-", color=color, label=name.replace("_x50", " x 50"))
    losses.set(title="training loss", xlabel="epoch", yscale="log")
    losses.legend()
    for name, color in (("AP", "#009E73"), ("AP50", "#CC79A7")):
        known = [(row["epoch"], row[name]) for row in rows if row.get(name) not in (None, "")]
        if known:
            accuracy.plot(*zip(*known, strict=True), ".-", color=color, label=name)
    accuracy.set(title="validation, averaged weights", xlabel="epoch", ylim=(0, 1))
    if accuracy.lines:
        accuracy.legend()
    rate.plot(epochs, [row["learning_rate"] for row in rows], ".-", color="#0072B2")
    rate.set(title="learning rate at the epoch's end", xlabel="epoch")
    for axes in (losses, accuracy, rate):
        axes.grid(alpha=0.3)
    with replacing(path) as aside:
        figure.savefig(aside, dpi=110)
