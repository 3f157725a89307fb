"""How scores are written for people: points of 100."""

from __future__ import annotations

from edgedet.evaluation.coco import NO_TRUTH


def points(value: float | None) -> str:
    """A score as points of 100 with one decimal; `n/a` where there was no truth."""
    return "n/a" if value is None or value <= NO_TRUTH else f"{100 * value:.1f}"


def signed(value: float | None) -> str:
    """A difference of scores as points of 100 with its sign; `n/a` where it isn't known."""
    if value is None:
        return "n/a"
    shown = f"{100 * value:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", "−")


def percent(share: float | None) -> str:
    """A share with one decimal; `n/a` where it isn't known."""
    return "n/a" if share is None else f"{100 * share:.1f}%"
