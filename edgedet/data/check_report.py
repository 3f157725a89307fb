"""A check as files: `check.json`, and `check.html` with pictures in one file."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from edgedet.data.findings import (
    RATIO_EDGES,
    SIZE_EDGES,
    CheckReport,
    Example,
    Finding,
    SplitStatistics,
)
from edgedet.data.reading import shown_path
from edgedet.errors import EdgeDetError
from edgedet.files import write_text
from edgedet.images import read_image

_THUMBNAIL = 240
_PER_FINDING = 6
_MOST_THUMBNAILS = 60
# With more boxes their names would hide the picture.
_NAMED = 12
# Of Okabe and Ito's palette, which stays readable with any form of colour blindness.
_GOOD, _BAD = "#56B4E9", "#D55E00"

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .25rem .8rem .25rem 0;
  vertical-align: top; border-bottom: 1px solid #ddd; } td.n, th.n { text-align: right; }
.error { color: #a33c00; font-weight: 600; } .warning { color: #8a6200; font-weight: 600; }
.note { color: #555; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 240px; }
.pair { width: 490px; } figcaption { font-size: .8rem; overflow-wrap: anywhere; }
svg text { font: 11px system-ui, sans-serif; fill: #333; } svg rect { fill: #0072B2; }
"""


def write_check(report: CheckReport, directory: str | os.PathLike[str]) -> dict[str, str]:
    """Write `check.json` and `check.html` to a directory.

    The page stands for itself: pictures and charts are in it, and nothing is loaded or run.

    Returns:
        The names of the files, by `json` and `html`.

    Raises:
        EdgeDetError: a file can't be written.
    """
    names = {"json": "check.json", "html": "check.html"}
    write_text(Path(directory) / names["json"], json.dumps(report.to_dict(), indent=1) + "\n")
    write_text(Path(directory) / names["html"], check_page(report))
    return names


def check_page(report: CheckReport) -> str:
    """The report as one HTML page."""
    verdict = "no errors" if report.passed else "errors found"
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{_text(report.data)}: {verdict}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(report.data)}: {verdict}</h1>",
        *_split_table(report.splits),
        "<h2>Findings</h2>",
        *_findings_table(report.findings),
        "<p>In the pictures below: blue, the boxes as read; red, the boxes at fault.</p>",
        *_gallery(report),
    ]
    for split in report.splits:
        parts += _charts(split, report.imgsz)
    return "\n".join([*parts, "</body></html>\n"])


def size_names() -> list[str]:
    """What the intervals of `SIZE_EDGES` are called."""
    return [f"to {edge:g}" for edge in SIZE_EDGES] + [f"over {SIZE_EDGES[-1]:g}"]


def _ratio_names() -> list[str]:
    def name(edge: float) -> str:
        return f"{edge:.2g}" if edge >= 1 else f"1/{1 / edge:.2g}"

    return [f"to {name(edge)}" for edge in RATIO_EDGES] + [f"over {name(RATIO_EDGES[-1])}"]


def _split_table(splits: Sequence[SplitStatistics]) -> Iterator[str]:
    heads = ("format", "pictures", "boxes", "crowd boxes", "pictures without boxes")
    yield "<table><tr><th>split</th>" + "".join(f"<th class='n'>{h}</th>" for h in heads) + "</tr>"
    for split in splits:
        values = (split.format, split.pictures, split.boxes, split.crowd, split.without_boxes)
        cells = "".join(f"<td class='n'>{value}</td>" for value in values)
        yield f"<tr><td>{_text(split.name)}</td>{cells}</tr>"
    yield "</table>"


def _findings_table(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        yield "<p>Nothing to report.</p>"
        return
    yield "<table>"
    for finding in findings:
        yield (
            f"<tr><td class='{finding.severity}'>{finding.severity}</td>"
            f"<td>{_text(finding.split)}</td><td class='n'>{finding.count}</td>"
            f"<td>{_text(finding.sentence)}{_list(finding.examples)}</td></tr>"
        )
    yield "</table>"


def _list(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    items = "".join(f"<li>{_text(example.sentence)}</li>" for example in examples)
    return f"<details><summary>examples</summary><ul>{items}</ul></details>"


def _gallery(report: CheckReport) -> Iterator[str]:
    room = _MOST_THUMBNAILS
    for finding in report.findings:
        figures = []
        for picture, bad, texts, other in _by_picture(finding.examples)[:_PER_FINDING]:
            tiles = [_thumbnail(picture, report.boxes.get(picture, []), bad)]
            if other is not None:
                tiles.append(_thumbnail(other, report.boxes.get(other, []), []))
            drawn = "".join(tile for tile in tiles if tile)
            if drawn and room > 0:
                room -= len(tiles)
                style = " class='pair'" if other is not None else ""
                caption = "; ".join(texts[:3]) + ("; ..." if len(texts) > 3 else "")
                figures.append(
                    f"<figure{style}>{drawn}<figcaption>{_text(caption)}</figcaption></figure>"
                )
        if figures:
            yield f"<h2>{_text(finding.split)}: {_text(finding.kind.replace('-', ' '))}</h2>"
            yield f"<div class='row'>{''.join(figures)}</div>"


def _by_picture(
    examples: Sequence[Example],
) -> list[tuple[str, list[tuple[float, ...]], list[str], str | None]]:
    """Pictures with the boxes at fault and what is said of them, each picture once."""
    grouped: dict[str, tuple[str, list[tuple[float, ...]], list[str], str | None]] = {}
    for example in examples:
        if example.picture is None:
            continue
        _, boxes, texts, _ = grouped.setdefault(
            example.picture, (example.picture, [], [], example.other)
        )
        boxes += example.boxes
        texts.append(example.sentence)
    return list(grouped.values())


def _thumbnail(
    path: str,
    boxes: Sequence[tuple[tuple[float, ...], str]],
    bad: Sequence[tuple[float, ...]],
) -> str:
    """The picture as an `img`, the boxes blue and those at fault red; empty if it can't be read."""
    try:
        picture = Image.fromarray(read_image(path))
    except EdgeDetError:
        return ""
    ratio = min(_THUMBNAIL / picture.width, _THUMBNAIL / picture.height, 4.0)
    size = max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))
    tile = picture.resize(size, Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(tile)
    for box, label in boxes:
        _frame(pen, box, ratio, size, _GOOD)
        if len(boxes) <= _NAMED:
            # Line breaks in a name would leave its box.
            corner = box[0] * ratio + 3, box[1] * ratio + 1
            pen.text(
                corner, " ".join(label.split())[:20], "white", stroke_width=1, stroke_fill="black"
            )
    for box in bad:
        _frame(pen, box, ratio, size, _BAD)
    coded = io.BytesIO()
    tile.save(coded, "JPEG", quality=80)
    data = base64.b64encode(coded.getvalue()).decode()
    return f"<img width='{size[0]}' height='{size[1]}' alt='' src='data:image/jpeg;base64,{data}'>"


def _frame(
    pen: ImageDraw.ImageDraw,
    box: tuple[float, ...],
    ratio: float,
    size: tuple[int, int],
    colour: str,
) -> None:
    if not all(math.isfinite(edge) for edge in box):
        return
    # A box far outside is drawn along the edge that it lies behind.
    limits = (size[0] - 1, size[1] - 1) * 2
    x0, y0, x1, y1 = (
        min(max(edge * ratio, 0.0), limit) for edge, limit in zip(box, limits, strict=True)
    )
    pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=colour, width=2)


def _charts(split: SplitStatistics, imgsz: int) -> Iterator[str]:
    yield f"<h2>{_text(split.name)}: box sizes at {imgsz} px (side of a square of its area)</h2>"
    yield _bars(size_names(), split.sizes)
    yield f"<h2>{_text(split.name)}: width / height</h2>"
    yield _bars(_ratio_names(), split.ratios)
    yield f"<h2>{_text(split.name)}: boxes of each class</h2>"
    ranked = sorted(split.per_class.items(), key=lambda entry: -entry[1])
    # The most and the least frequent ones tell the balance.
    shown = ranked if len(ranked) <= 100 else ranked[:50] + ranked[-50:]
    yield _bars([name for name, _ in shown], [count for _, count in shown])


def _bars(names: Sequence[str], counts: Sequence[int]) -> str:
    """A bar chart as SVG, the bars lying."""
    height, left, width = 18, 170, 460
    most = max([*counts, 1])
    parts = [f"<svg width='{left + width + 90}' height='{height * len(counts) + 4}' role='img'>"]
    for row, (name, count) in enumerate(zip(names, counts, strict=True)):
        y, length = row * height, width * count / most
        label = name if len(name) <= 26 else name[:25] + "…"
        parts.append(
            f"<text x='{left - 8}' y='{y + 13}' text-anchor='end'>{_text(label)}</text>"
            f"<rect x='{left}' y='{y + 3}' width='{length:.1f}' height='12'/>"
            f"<text x='{left + length + 6:.1f}' y='{y + 13}'>{count}</text>"
        )
    return "".join([*parts, "</svg>"])


def _text(value: str) -> str:
    # Names of classes and files come out of the dataset, and may be markup or no UTF-8.
    return html.escape(shown_path(value))
