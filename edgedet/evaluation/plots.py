"""Precision against recall as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from edgedet.errors import MissingDependencyError
from edgedet.evaluation.coco import NO_TRUTH, RECALLS, ClassScore
from edgedet.files import replacing

# Okabe and Ito's palette without black and yellow, which the mean has and which is faint on white:
# these stay apart for every common form of colour blindness. https://jfly.uni-koeln.de/color/
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", ":")
_STYLES = tuple((colour, dash) for dash, colour in product(_DASHES, _COLOURS))

# With more classes than this, nobody can tell their curves apart: then only the weakest are named.
_MOST_NAMED = 12
_WEAKEST = 5
_LONGEST_LABEL = 24


def check_available() -> None:
    """Find out before any long work whether matplotlib is there.

    Raises:
        MissingDependencyError: it isn't.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "The precision-recall plot needs matplotlib; install it with "
            "`pip install 'edgedet[eval]'`."
        ) from None


def plot_precision_recall(
    per_class: Sequence[ClassScore], path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Write a PNG with each class's precision-recall curve at IoU 0.5, and their mean.

    With up to 12 classes each curve has its own colour and dashes; with more, the five weakest
    have, and the others are grey.

    Args:
        per_class: the scores of each class; those without truth are left out.
        path: the PNG to write.
        title: text over the plot.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        EdgeDetError: the file can't be written.
    """
    check_available()
    figure = precision_recall_figure(per_class, title)
    with replacing(path) as aside:
        figure.savefig(aside, format="png", metadata={"Software": None})


def precision_recall_figure(per_class: Sequence[ClassScore], title: str = "") -> Any:
    """The plot of `plot_precision_recall` as a matplotlib `Figure`."""
    from matplotlib.figure import Figure

    known, named = known_and_named(per_class)
    # A figure of its own, not pyplot's: no global state, no display needed.
    figure = Figure(figsize=(8, 5.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    chosen = {id(entry) for entry in named}
    for entry in known:
        if id(entry) not in chosen:
            axes.plot(RECALLS, entry.precision, color="0.8", linewidth=0.8, zorder=1)
    for entry, (colour, dash) in zip(named, _STYLES, strict=False):
        axes.plot(
            RECALLS,
            entry.precision,
            color=colour,
            linestyle=dash,
            linewidth=1.6,
            label=_legend_entry(entry.metrics["AP50"], entry.label),
            zorder=2,
        )
    if known:
        mean = np.mean([entry.precision for entry in known], axis=0)
        axes.plot(
            RECALLS,
            mean,
            color="black",
            linewidth=3,
            label=_legend_entry(float(mean.mean()), "mean"),
            zorder=3,
        )
        which = "each class" if len(named) == len(known) else f"the weakest {len(named)} classes"
        axes.legend(
            title=f"AP50 of {which}",
            alignment="left",
            loc="upper left",
            bbox_to_anchor=(1.01, 1),
            frameon=False,
        )
    else:
        axes.text(0.5, 0.5, "no objects to find", ha="center", va="center")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Recall", ylabel="Precision (IoU 0.5)")
    axes.set_title(title, loc="left", parse_math=False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def known_and_named(
    per_class: Sequence[ClassScore],
) -> tuple[list[ClassScore], list[ClassScore]]:
    """The classes that have objects, and those of them that a plot names: few, or the weakest."""
    known = [entry for entry in per_class if entry.metrics["AP50"] > NO_TRUTH]
    if len(known) <= _MOST_NAMED:
        return known, known
    return known, sorted(known, key=lambda entry: entry.metrics["AP50"])[:_WEAKEST]


def _legend_entry(value: float, label: str) -> str:
    # The number first: matplotlib leaves out entries that begin with an underscore.
    shortened = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
    return f"{100 * value:.1f}  " + shortened.replace("$", r"\$")
