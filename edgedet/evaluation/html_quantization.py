"""What quantization cost, where, and what was tried against it, for the report of a conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.evaluation.charts import barred
from edgedet.evaluation.page import Cell, escaped, section, shortened, table
from edgedet.evaluation.points import points
from edgedet.evaluation.thumbnails import thumbnail

Entry = Mapping[str, Any]

# Decibels; below it a head's error is a third of its signal, and detections are lost.
_LOW_SQNR = 10.0
# Where a bar is full; INT8 rarely gets as far.
_FULL_SQNR = 50.0
_MOST_LAYERS = 10
_MOST_SENSITIVE = 15
# Four dozen pictures of this size take about 300 kB.
_MOST_PICTURES = 48
_SIDE, _QUALITY = 160, 70


def named(entry: Entry) -> str:
    """What a file is called in words: its format and precision."""
    return f"{entry.get('format', '?')} {entry.get('precision', '?')}"


def attempts_section(formats: Sequence[Entry], baseline: float | None, budget: float | None) -> str:
    """What was tried for each file, in order, and why it stopped.

    Args:
        formats: of the report.
        baseline: AP of the float model, a fraction.
        budget: most AP that may be lost, in points.
    """
    parts = []
    for entry in formats:
        attempts = entry.get("attempts") or ()
        if not attempts:
            continue
        rows: list[list[Cell | str]] = [
            [
                f'{escaped(attempt.get("step", "?"))}<br><span class="words">'
                f"{escaped(_described(attempt.get('settings')))}</span>",
                points(attempt.get("AP")),
                _lost(attempt, baseline, budget),
                _formatted(attempt.get("bytes"), 1e-6, ".2f", " MB"),
                _formatted(attempt.get("seconds"), 1, ".0f", " s"),
                _met(attempt.get("met")),
            ]
            for attempt in attempts
        ]
        outcome = entry.get("outcome")
        parts.append(
            f"<h3>{escaped(named(entry))}</h3>"
            + table(["step", "AP", "AP lost", "size", "took", "budget"], rows)
            + (f'<p class="note">{escaped(outcome)}</p>' if outcome else "")
        )
    if not parts:
        return ""
    allowed = "" if budget is None else f" {budget:.1f} AP may be lost."
    return section(
        "What was tried",
        *parts,
        lead=f"The cheapest remedy first, until one was enough.{allowed}",
    )


def fidelity_section(formats: Sequence[Entry]) -> str:
    """How well each output follows the float model, and the layers that lose most, in words."""
    parts = []
    for entry in formats:
        heads, layers = entry.get("heads") or (), (entry.get("layers") or ())[:_MOST_LAYERS]
        if not heads and not layers:
            continue
        rows: list[list[Cell | str]] = [
            [
                f"<code>{escaped(head.get('name', '?'))}</code>",
                _sqnr(head.get("sqnr")),
                _formatted(head.get("correlation"), 1, ".4f"),
                _formatted(head.get("scale"), 1, ".4g"),
                "n/a" if head.get("zero_point") is None else str(head["zero_point"]),
            ]
            for head in heads
        ]
        shown = table(["output", "SQNR", "correlation", "step", "zero point"], rows)
        listed = "".join(
            f"<li>{escaped(layer.get('explanation') or layer.get('name', '?'))}</li>"
            for layer in layers
        )
        parts.append(
            f"<h3>{escaped(named(entry))}</h3>"
            + (shown if heads else "")
            + (f"<h3>Layers that lose most</h3><ul>{listed}</ul>" if listed else "")
        )
    if not parts:
        return ""
    return section(
        "Where precision is lost",
        *parts,
        lead="SQNR is the power of the float output over that of the error: at 20 dB the error "
        "is a tenth of the signal, 6 dB more are one bit more. An output below "
        f"{_LOW_SQNR:g} dB loses detections.",
    )


def sensitivity_section(formats: Sequence[Entry]) -> str:
    """How much is lost by quantizing each part of the network, the most sensitive first."""
    parts = []
    for entry in formats:
        measured = [
            found for found in entry.get("sensitivity") or () if found.get("loss") is not None
        ]
        measured = sorted(measured, key=lambda found: -found["loss"])
        if not measured:
            continue
        most = max(measured[0]["loss"], 1e-12)
        rows: list[list[Cell | str]] = [
            [
                f"<code>{escaped(shortened(str(found.get('layer', '?')), 100))}</code>",
                barred(found["loss"] / most, f"{found['loss']:.3g}", "miss"),
            ]
            for found in measured[:_MOST_SENSITIVE]
        ]
        rest = len(measured) - len(rows)
        parts.append(
            f"<h3>{escaped(named(entry))}</h3>"
            + table(["layer", "loss"], rows)
            + (f'<p class="note">{rest} more lose less; report.json has them.</p>' if rest else "")
        )
    if not parts:
        return ""
    return section(
        "Sensitivity of the layers",
        *parts,
        lead="What is lost when a part of the network is quantized; the parts at the top are the "
        "first to stay in float.",
    )


def calibration_section(calibration: Entry | None) -> str:
    """The pictures that set the ranges, as a contact sheet, and what is wrong with them."""
    if not calibration:
        return ""
    pictures = list(calibration.get("pictures") or ())
    images = calibration.get("images")
    if images is None:
        images = len(pictures)
    warnings = "".join(
        f'<p class="down">{escaped(text)}</p>' for text in calibration.get("warnings") or ()
    )
    count = min(len(pictures), _MOST_PICTURES)
    figures, unreadable = [], 0
    for index in range(count):
        path = Path(str(pictures[index * len(pictures) // count]))
        try:
            small = thumbnail(path, _SIDE, _QUALITY)
        except (InvalidInputError, MissingFileError):
            unreadable += 1
            continue
        name = escaped(path.name)
        figures.append(
            f'<img src="{small.data}" alt="{name}" title="{name}" '
            'style="width:100%;aspect-ratio:1;object-fit:cover;border-radius:6px;display:block"/>'
        )
    sheet = (
        '<div style="display:grid;gap:6px;'
        'grid-template-columns:repeat(auto-fill,minmax(96px,1fr))">' + "".join(figures) + "</div>"
    )
    gone = (
        f'<p class="note">{unreadable} of them can\'t be read any more.</p>' if unreadable else ""
    )
    fewer = "" if count == len(pictures) else f" {count} of them are shown."
    return section(
        "Calibration pictures",
        warnings,
        sheet if figures else "",
        gone,
        lead=f"{images} picture{'s' * (images != 1)} of the "
        f"{escaped(calibration.get('split', '?'))} split set the ranges of INT8.{fewer} They "
        "must look like what the detector will see.",
    )


def _described(settings: Any) -> str:
    """Settings in words: those that are switched on."""
    if not isinstance(settings, Mapping):
        return "" if settings is None else str(settings)
    told = []
    for key, value in settings.items():
        name = str(key).replace("_", " ")
        if value is True:
            told.append(name)
        elif isinstance(value, (list, tuple)):
            told += [f"{name} {len(value)}: {', '.join(map(str, value[:3]))}"] if value else []
        elif value not in (None, False, ""):
            told.append(f"{name} {value}")
    return shortened("; ".join(told), 160)


def _lost(attempt: Entry, baseline: float | None, budget: float | None) -> Cell:
    drop = attempt.get("drop")
    if baseline is not None and attempt.get("AP") is not None:
        drop = 100 * (baseline - attempt["AP"])
    if drop is None:
        return Cell("n/a")
    over = budget is not None and drop > budget
    return Cell(f"{round(drop, 2) + 0.0:.2f}".replace("-", "−"), drop, "down" if over else "")


def _met(met: bool | None) -> Cell:
    if met is None:
        return Cell("")
    return Cell("within" if met else "over", style="up" if met else "down")


def _sqnr(value: float | None) -> Cell:
    if value is None:
        return Cell("n/a")
    low = value < _LOW_SQNR
    return Cell(
        barred(value / _FULL_SQNR, f"{value:.1f} dB".replace("-", "−"), "miss" if low else ""),
        value,
        "down" if low else "",
    )


def _formatted(value: float | None, factor: float, form: str, unit: str = "") -> str:
    return "n/a" if value is None else f"{value * factor:{form}}{unit}"
