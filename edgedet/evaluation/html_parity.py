"""A comparison of files as one HTML page: what differs, and the pictures where it differs most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgedet.evaluation.page import Cell, escaped, page, section, shortened, table
from edgedet.evaluation.parity import MATCH_IOU, Boxes, FileParity, PictureDifference, names_of
from edgedet.evaluation.thumbnails import thumbnail

# Pairs that overlap less are drawn as two boxes.
_CLOSE_IOU = 0.9
_MOST_PICTURES = 12
# A picture with more boxes than this shows nothing, and would make the page large.
_MOST_BOXES = 120


def parity_page(
    results: Sequence[FileParity],
    labels: Sequence[str],
    *,
    reference: Path,
    reference_precision: str,
    source: str,
    conf: float,
) -> str:
    """The comparison as an HTML document: no other files, no network.

    Args:
        results: of `measure_parity`.
        labels: the reference's class names.
        reference: the first file.
        reference_precision: the precision it was converted to.
        source: where the pictures come from.
        conf: the confidence at which boxes are shown.

    Raises:
        InvalidInputError: one of the worst pictures can't be read.
        MissingFileError: one of them isn't there.
    """
    pictures = len(results[0].pictures)
    title = f"{reference.name} and {_files(results)}"
    header = (
        f"<header><h1>{escaped(title)}</h1><p>{pictures} picture{'s' * (pictures != 1)} of "
        f"{escaped(source)}, boxes of confidence {conf:g} and more; the reference is "
        f"{escaped(reference)} ({escaped(reference_precision)})</p></header>"
    )
    parts = [header, _verdict(results), _table(results), _scores(results)]
    parts += [
        _pictures(name, result, labels)
        for name, result in zip(names_of(results), results, strict=True)
    ]
    return page(title, "\n".join(parts))


def _files(results: Sequence[FileParity]) -> str:
    return results[0].path.name if len(results) == 1 else f"{len(results)} others"


def _verdict(results: Sequence[FileParity]) -> str:
    sentences = [
        f"<li><bdi>{escaped(name)}</bdi>: "
        + (
            '<b class="up">within tolerance</b>'
            if result.met
            else f'<b class="down">differs</b>: {escaped("; ".join(result.failures))}'
        )
        + "</li>"
        for name, result in zip(names_of(results), results, strict=True)
    ]
    return f'<div class="findings"><ul>{"".join(sentences)}</ul></div>'


def _table(results: Sequence[FileParity]) -> str:
    rows: list[list[Cell | str]] = [
        [
            f"<bdi>{escaped(name)}</bdi>",
            Cell(f"{escaped(result.precision)}, {escaped(result.engine)}", style="words"),
            _against(result.mean_iou, result.tolerance.iou),
            _against(result.agreement, result.tolerance.agreement),
            _against(result.matched, result.tolerance.matched),
            str(result.pairs),
            str(result.only_reference),
            str(result.only_file),
        ]
        for name, result in zip(names_of(results), results, strict=True)
    ]
    columns = ["file", "precision", "mean IoU", "same class", "matched"]
    columns += ["boxes in both", "only in the reference", "only here"]
    return section(
        "Beside the reference",
        table(columns, rows),
        lead=f"Boxes of two files belong together from IoU {MATCH_IOU:g} on. Mean IoU and the "
        "share of the same class are of boxes in both; matched is the share of all boxes that "
        "have a counterpart. Below each number stands the least that is tolerated.",
    )


def _against(value: float | None, least: float) -> Cell:
    if value is None:
        return Cell("n/a", -1)
    style = "down" if value < least else ""
    return Cell(f'{value:.4f}<br><span class="words">{least:g}</span>', value, style)


def _scores(results: Sequence[FileParity]) -> str:
    rows: list[list[Cell | str]] = []
    for name, result in zip(names_of(results), results, strict=True):
        told = result.to_dict(0)["score_difference"]
        rows.append(
            [
                f"<bdi>{escaped(name)}</bdi>",
                *(
                    "n/a" if told[key] is None else f"{told[key]:{form}}".replace("-", "−")
                    for key, form in (
                        ("mean", "+.4f"),
                        ("mean_absolute", ".4f"),
                        ("greatest", ".4f"),
                    )
                ),
                str(result.crossed),
            ]
        )
    return section(
        "Confidence",
        table(["file", "mean change", "mean distance", "greatest distance", "crossed"], rows),
        lead="The confidence of matched boxes less the reference's. Crossed are matched boxes "
        "that one of the two files has a little below the confidence asked for, so that it "
        "doesn't show them.",
    )


def _pictures(name: str, result: FileParity, labels: Sequence[str]) -> str:
    worst = result.worst(_MOST_PICTURES)
    title = f"Where {name} differs most"
    if not worst:
        return section(title, "<p>Nowhere: all boxes are the same.</p>")
    switches = (
        _switch("the same in both", "hit"),
        _switch("the reference's, where they differ", "miss"),
        _switch("this file's, where they differ", "false"),
    )
    figures = "".join(_figure(picture, labels) for picture in worst)
    return section(
        title,
        f'<div class="boxes"><p>{"".join(switches)}</p><div class="gallery">{figures}</div></div>',
        lead=f"{len(result.differing)} of {len(result.pictures)} pictures differ; the worst first. "
        f"Where boxes overlap by less than {_CLOSE_IOU:g} or have other classes, both are drawn. "
        "Rest the pointer on a box for its class and confidence.",
    )


def _switch(text: str, style: str) -> str:
    switch = {"hit": "hits", "miss": "misses", "false": "falses"}[style]
    return (
        f'<label><input type="checkbox" class="{switch}" checked> '
        f'<span class="swatch {style}"></span>{text}</label>'
    )


def _figure(picture: PictureDifference, labels: Sequence[str]) -> str:
    small = thumbnail(picture.path)
    width, height = small.width, small.height
    # The figure is 4 to 3, whatever the picture's shape.
    letters = 0.034 * max(width, height * 4 / 3)
    close = picture.same_class & (picture.overlaps >= _CLOSE_IOU)
    groups = [
        _boxes("hit", picture.file, close.nonzero()[0].tolist(), labels),
        _boxes("miss", picture.reference, (~close).nonzero()[0].tolist(), labels, letters),
        _boxes("miss", picture.only_reference, _all(picture.only_reference), labels, letters),
        _boxes("false", picture.file, (~close).nonzero()[0].tolist(), labels, letters, height),
        _boxes("false", picture.only_file, _all(picture.only_file), labels, letters, height),
    ]
    name = escaped(shortened(picture.path.name))
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" font-size="{letters:.1f}" role="img" '
        f'aria-label="{escaped(picture.path.name)}"><image width="{width}" height="{height}" '
        f'preserveAspectRatio="none" href="{small.data}"/>{"".join(groups)}</svg>'
        f"<figcaption><b><bdi>{name}</bdi></b><br><span>{_caption(picture)}</span></figcaption>"
        "</figure>"
    )


def _caption(picture: PictureDifference) -> str:
    told = picture.to_dict()
    parts = [f"{told['matched']} matched"]
    if told["mean_iou"] is not None:
        parts.append(f"mean IoU {told['mean_iou']:.3f}")
    for count, text in (
        (told["other_class"], "of another class"),
        (told["only_reference"], "only in the reference"),
        (told["only_file"], "only here"),
    ):
        if count:
            parts.append(f"{count} {text}")
    return ", ".join(parts)


def _all(boxes: Boxes) -> list[int]:
    return list(range(len(boxes.scores)))


def _boxes(
    style: str,
    boxes: Boxes,
    chosen: Sequence[int],
    labels: Sequence[str],
    letters: float | None = None,
    height: int | None = None,
) -> str:
    """Boxes of one kind, with names in `letters`: above, or below in a picture of that height."""
    parts = [f'<g class="{style}">']
    for index in chosen[:_MOST_BOXES]:
        x0, y0, x1, y1 = boxes.xyxy[index].tolist()
        label = labels[int(boxes.classes[index])]
        parts.append(
            f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"><title>'
            f"{escaped(label)} {float(boxes.scores[index]):.2f}</title></rect>"
        )
        if letters is None:
            continue
        if height is None:
            baseline = y0 - 0.3 * letters if y0 > 1.3 * letters else y0 + letters
        else:
            baseline = y1 + letters if y1 + 1.3 * letters < height else y1 - 0.3 * letters
        parts.append(
            f'<text x="{x0:.1f}" y="{baseline:.1f}">{escaped(shortened(label, 24))}</text>'
        )
    return "".join([*parts, "</g>"])
