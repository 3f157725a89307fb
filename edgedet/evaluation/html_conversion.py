"""A conversion as one HTML file that needs nothing else: what it gained, lost, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgedet.evaluation.coco import NO_TRUTH
from edgedet.evaluation.html_quantization import (
    attempts_section,
    calibration_section,
    fidelity_section,
    named,
    sensitivity_section,
)
from edgedet.evaluation.page import Cell, escaped, name_of, page, section, shortened, table
from edgedet.evaluation.points import points, signed

Entry = Mapping[str, Any]

_METRICS = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "a box must overlap by half",
    "APs": "small objects, under 32² px",
    "APm": "medium objects, 32² to 96² px",
    "APl": "large objects, over 96² px",
}
_MOST_KINDS = 24


def conversion_page(report: Entry) -> str:
    """The report as an HTML document: no other files, no network.

    Args:
        report: the content that `conversion_report.write_report` describes.
    """
    formats: Sequence[Entry] = report.get("formats") or ()
    model = str(report.get("model") or report.get("source") or "the model")
    title = f"{model}, converted"
    parts = [
        f"<header><h1>{escaped(title)}</h1><p>{escaped(_subtitle(report))}</p></header>",
        _cards(report, formats),
        _findings(report, formats),
        _files(report, formats),
        _accuracy(report, formats),
        _classes(report, formats),
        attempts_section(formats, _baseline_ap(report), report.get("budget")),
        fidelity_section(formats),
        sensitivity_section(formats),
        _latency(formats),
        _preparation(report.get("preparation")),
        _operators(formats),
        calibration_section(report.get("calibration")),
        _conditions(report),
    ]
    return page(title, "\n".join(part for part in parts if part))


def change_of(before: float | None, after: float | None) -> float | None:
    """After less before; None where either isn't known or has no truth."""
    if before is None or after is None or min(before, after) <= NO_TRUTH:
        return None
    return after - before


def _subtitle(report: Entry) -> str:
    told = [str(report.get("source") or "")]
    if report.get("data"):
        told.append(f"measured on the val split of {report['data']}")
    if report.get("budget") is not None:
        told.append(f"at most {report['budget']:.1f} AP may be lost")
    return "; ".join(part for part in told if part)


def _baseline_ap(report: Entry) -> float | None:
    return (report.get("baseline") or {}).get("AP")


def _ap(entry: Entry) -> float | None:
    return (entry.get("metrics") or {}).get("AP")


def _cards(report: Entry, formats: Sequence[Entry]) -> str:
    cards = []
    before = _baseline_ap(report)
    if before is not None:
        cards.append((points(before), "AP before", "of the float model"))
    for entry in formats:
        size = _megabytes(entry.get("bytes"))
        change = change_of(before, _ap(entry))
        if _ap(entry) is None:
            cards.append((size, named(entry), "accuracy not measured"))
            continue
        told = size
        if change is not None:
            style = "down" if entry.get("met") is False else "up"
            told += f'</span><span class="{style}">{_exactly(change)} AP'
            if entry.get("met") is not None:
                told += ", within the budget" if entry["met"] else ", over the budget"
        cards.append((points(_ap(entry)), f"AP, {named(entry)}", told))
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><b>{value}</b><span class="name">{escaped(name)}</span>'
            f"<span>{meaning}</span></div>"
            for value, name, meaning in cards
        )
        + "</div>"
    )


def _findings(report: Entry, formats: Sequence[Entry]) -> str:
    sentences = []
    for entry in formats:
        told = _verdict(entry, report)
        sentences += [told] if told else []
        worst = _worst_class(report, entry)
        sentences += [worst] if worst else []
        layers = entry.get("layers") or ()
        if layers:
            sentences.append(
                f"{named(entry)} loses most precision at {layers[0].get('explanation', '')}"
            )
    sentences += (report.get("calibration") or {}).get("warnings") or []
    if not sentences:
        return ""
    listed = "".join(f"<li>{escaped(sentence)}</li>" for sentence in sentences)
    return f'<div class="findings"><h3>In short</h3><ul>{listed}</ul></div>'


def _verdict(entry: Entry, report: Entry) -> str:
    outcome = str(entry.get("outcome") or "").rstrip(".")
    if outcome:
        return f"{named(entry)}: {outcome}."
    change = change_of(_baseline_ap(report), _ap(entry))
    if change is None:
        return ""
    lost = f"{_exactly(-change)} AP" if change < 0 else "no AP"
    return f"{named(entry)} loses {lost}."


def _exactly(value: float) -> str:
    """Points with two decimals: a loss just beyond a budget must not look like the budget."""
    return f"{round(100 * value, 2) + 0.0:.2f}".replace("-", "−")


def _worst_class(report: Entry, entry: Entry) -> str:
    changes = _class_changes(report, entry)
    if len(changes) < 2:
        return ""
    label, change = min(changes.items(), key=lambda item: item[1])
    # A class's AP moves by chance more than the mean of all does.
    if change > -0.02:
        return ""
    return f"{named(entry)} loses most on “{shortened(label, 48)}”: {signed(-change)[1:]} AP."


def _class_changes(report: Entry, entry: Entry) -> dict[str, float]:
    before = (report.get("baseline") or {}).get("per_class") or {}
    after = (entry.get("metrics") or {}).get("per_class") or {}
    changes = {label: change_of(before.get(label), after.get(label)) for label in before}
    return {label: change for label, change in changes.items() if change is not None}


def _files(report: Entry, formats: Sequence[Entry]) -> str:
    before = _baseline_ap(report)
    rows: list[list[Cell | str]] = []
    for entry in formats:
        met = entry.get("met")
        verdict = "" if met is None else "within" if met else "over"
        rows.append(
            [
                f"<bdi>{escaped(shortened(_file_name(entry)))}</bdi>",
                Cell(escaped(named(entry)), style="words"),
                _with_change(before, _ap(entry), report.get("budget")),
                Cell(_megabytes(entry.get("bytes")), entry.get("bytes")),
                str(sum((entry.get("operators") or {}).values()) or "n/a"),
                _p50(entry),
                Cell(escaped(entry.get("inference_precision") or "n/a"), style="words"),
                Cell(verdict, style="down" if met is False else "up" if met else ""),
            ]
        )
    if not rows:
        return ""
    names = ["file", "format", "AP", "size", "operators", "ms at 1 thread", "runs in", "budget"]
    return section(
        "The files",
        table(names, rows, sortable=True),
        lead="AP in points of 100 with its change; milliseconds are the median of detect() on "
        "this machine. Runs in: the type in which the engine computes most convolutions.",
    )


def _file_name(entry: Entry) -> str:
    # A path may come from a machine with either kind of separator.
    return str(entry.get("file", "?")).replace("\\", "/").rpartition("/")[2]


def _megabytes(size: float | None) -> str:
    return "n/a" if size is None else f"{size / 1e6:.2f} MB"


def _p50(entry: Entry) -> Cell:
    for timed in entry.get("latency") or ():
        if timed.get("threads") == 1 and timed.get("p50_ms") is not None:
            return Cell(f"{timed['p50_ms']:.2f}", timed["p50_ms"])
    return Cell("n/a", -1)


def _with_change(before: float | None, after: float | None, budget: float | None) -> Cell:
    """A score and its change, bold where more is lost than the budget allows."""
    change = change_of(before, after)
    if change is None:
        return Cell(points(after), -9)
    shown = signed(change)
    style = "up" if shown.startswith("+") else "down" if shown.startswith("−") else ""
    mark = f'<span class="{style}">{shown}</span>'
    if budget is not None and -100 * change > budget:
        mark = f"<b>{mark}</b>"
    return Cell(f"{points(after)} {mark}", change)


def _measured(formats: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in formats if entry.get("metrics")]


def _accuracy(report: Entry, formats: Sequence[Entry]) -> str:
    baseline, measured = report.get("baseline") or {}, _measured(formats)
    if not measured:
        return ""
    rows: list[list[Cell | str]] = [
        [
            f'{name} <span class="words">{meaning}</span>',
            points(baseline.get(name)),
            *(
                _with_change(baseline.get(name), entry["metrics"].get(name), report.get("budget"))
                for entry in measured
            ),
        ]
        for name, meaning in _METRICS.items()
    ]
    return section(
        "Accuracy by object size",
        table(["metric", "before", *(named(entry) for entry in measured)], rows),
        lead="Points of 100, with the change from the float model; bold where more is lost than "
        "the budget allows.",
    )


def _classes(report: Entry, formats: Sequence[Entry]) -> str:
    before = (report.get("baseline") or {}).get("per_class") or {}
    measured = [entry for entry in _measured(formats) if entry["metrics"].get("per_class")]
    if not before or not measured:
        return ""

    def loss(label: str) -> float:
        changes = (_class_changes(report, entry).get(label) for entry in measured)
        return min((change for change in changes if change is not None), default=9.0)

    rows: list[list[Cell | str]] = [
        [
            name_of(label),
            Cell(points(before[label]), before[label]),
            *(
                _with_change(
                    before[label], entry["metrics"]["per_class"].get(label), report.get("budget")
                )
                for entry in measured
            ),
        ]
        for label in sorted(before, key=loss)
    ]
    return section(
        "Accuracy by class",
        table(["class", "before", *(named(entry) for entry in measured)], rows, sortable=True),
        lead="AP of each class, the largest loss first.",
    )


def _latency(formats: Sequence[Entry]) -> str:
    rows: list[list[Cell | str]] = [
        [
            escaped(named(entry)),
            str(timed.get("threads", "n/a")),
            *(
                "n/a" if timed.get(key) is None else f"{timed[key]:.2f}"
                for key in ("p50_ms", "p90_ms")
            ),
            Cell(escaped(entry.get("inference_precision") or "n/a"), style="words"),
        ]
        for entry in formats
        for timed in entry.get("latency") or ()
    ]
    if not rows:
        return ""
    return section(
        "Latency on this machine",
        table(["format", "threads", "median ms", "p90 ms", "runs in"], rows),
        lead="One picture through detect(), pre- and post-processing included.",
    )


def _preparation(effect: Entry | None) -> str:
    if not effect:
        return ""
    before, after = (effect.get(side) or {} for side in ("before", "after"))
    kinds = [side.get("operators") or {} for side in (before, after)]
    names = sorted({*kinds[0], *kinds[1]}, key=lambda kind: (-kinds[0].get(kind, 0), kind))
    counts: list[tuple[str, int, int]] = [
        ("all operators", sum(kinds[0].values()), sum(kinds[1].values())),
        *((kind, kinds[0].get(kind, 0), kinds[1].get(kind, 0)) for kind in names[:_MOST_KINDS]),
    ]
    rows: list[list[Cell | str]] = [
        [escaped(name), f"{first:,}", f"{second:,}", _fewer(second - first)]
        for name, first, second in counts
    ]
    first_macs, second_macs = before.get("macs"), after.get("macs")
    if first_macs is not None and second_macs is not None:
        share = f"{100 * (second_macs / first_macs - 1):+.1f}%" if first_macs else "n/a"
        cells = [f"{value / 1e6:,.1f} M" for value in (first_macs, second_macs)]
        rows.insert(1, ["multiply-adds", *cells, share.replace("-", "−")])
    return section(
        "What preparing the graph did",
        table(["operator", "before", "after", "change"], rows),
        lead="The same function with less to do: the network as Keras exports it, and after "
        "normalizations and constants were folded and dead branches cut.",
    )


def _fewer(difference: int) -> Cell:
    shown = f"{difference:+,}".replace("-", "−") if difference else "0"
    return Cell(shown, difference, "up" if difference < 0 else "down" if difference > 0 else "")


def _operators(formats: Sequence[Entry]) -> str:
    counted = [entry for entry in formats if entry.get("operators")]
    rows: list[list[Cell | str]] = []
    for entry in counted:
        kinds = sorted(entry["operators"].items(), key=lambda item: (-item[1], item[0]))
        told = ", ".join(f"{count} {kind}" for kind, count in kinds[:_MOST_KINDS])
        more = ", ..." if len(kinds) > _MOST_KINDS else ""
        rows.append(
            [
                escaped(named(entry)),
                str(sum(entry["operators"].values())),
                Cell(escaped(told + more), style="words"),
            ]
        )
    if not rows:
        return ""
    return section("Operators of each file", table(["format", "operators", "kinds"], rows))


def _conditions(report: Entry) -> str:
    calibration = report.get("calibration") or {}
    told = {
        "model": report.get("model"),
        "source": report.get("source"),
        "created": report.get("created"),
        "data": report.get("data"),
        "budget": None if report.get("budget") is None else f"{report['budget']:.1f} AP",
        "calibration digest": calibration.get("digest"),
    }
    rows: list[list[Cell | str]] = [
        [escaped(key), Cell(f"<bdi>{escaped(shortened(str(value), 200))}</bdi>", style="words")]
        for key, value in told.items()
        if value is not None
    ]
    return section(
        "How this was made",
        table(["setting", "value"], rows),
        '<p class="note">Scores are points of 100 by pycocotools; n/a where no such object is '
        "there, or where it wasn't measured. report.json beside this page holds all its numbers."
        "</p>",
    )
