"""The images with most mistakes for the HTML report: small pictures with boxes over them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgedet.evaluation.mistakes import ImageMistakes, worst
from edgedet.evaluation.page import escaped, shortened
from edgedet.images import read_image

GALLERY_SIZE = 24

# Two dozen JPEG pictures of this size and quality take about a megabyte.
_SIDE = 480
_QUALITY = 78
# A picture with more boxes than this shows nothing, and would make the page large.
_MOST_BOXES = 120


def gallery(
    mistakes: Sequence[ImageMistakes],
    paths: Mapping[int, Path],
    labels: Mapping[int, str],
    count: int = GALLERY_SIZE,
) -> str:
    """Figures of the images with most mistakes as HTML, the worst first; empty without mistakes.

    Args:
        mistakes: the outcome on every image (`find_mistakes`).
        paths: file of each image id.
        labels: name of each category id.
        count: most images.

    Raises:
        InvalidInputError: a picture can't be read.
        MissingFileError: a picture isn't there.
    """
    return "".join(
        _figure(entry, paths[entry.image_id], labels) for entry in worst(mistakes, count)
    )


def _figure(entry: ImageMistakes, path: Path, labels: Mapping[int, str]) -> str:
    picture = Image.fromarray(read_image(path))
    width, height = picture.size
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    # The figure is 4 to 3, whatever the picture's shape.
    letters = 0.034 * max(width, height * 4 / 3)
    groups = [
        _boxes("hit", entry.hits, _named(entry.hit_classes, labels, entry.hit_scores)),
        _boxes(
            "miss", entry.missed, _named(entry.missed_classes, labels), ("above", height, letters)
        ),
        _boxes(
            "false",
            entry.false,
            _named(entry.false_classes, labels, entry.false_scores),
            ("below", height, letters),
        ),
    ]
    left_out = sum(
        max(0, len(boxes) - _MOST_BOXES) for boxes in (entry.hits, entry.missed, entry.false)
    )
    more = f"; {left_out} boxes not drawn" if left_out else ""
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" font-size="{letters:.1f}" role="img" '
        f'aria-label="{escaped(path.name)}"><image width="{width}" height="{height}" '
        f'preserveAspectRatio="none" href="data:image/jpeg;base64,{data}"/>{"".join(groups)}</svg>'
        f"<figcaption><b><bdi>{escaped(shortened(path.name))}</bdi></b><br><span>"
        f"{len(entry.missed)} missed, {len(entry.false)} false, {len(entry.hits)} right{more}"
        "</span></figcaption></figure>"
    )


def _named(
    classes: Sequence[int], labels: Mapping[int, str], scores: Sequence[float] | None = None
) -> list[str]:
    names = [labels[category] for category in classes]
    if scores is None:
        return names
    return [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]


def _boxes(
    style: str,
    boxes: NDArray[np.float32],
    names: Sequence[str],
    caption: tuple[str, int, float] | None = None,
) -> str:
    """Boxes of one kind; `caption` is the side of their names, the height and the letters' size."""
    parts = [f'<g class="{style}">']
    for (x0, y0, x1, y1), name in list(zip(boxes.tolist(), names, strict=True))[:_MOST_BOXES]:
        parts.append(
            f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}">'
            f"<title>{escaped(name)}</title></rect>"
        )
        if caption is not None:
            parts.append(
                f'<text x="{x0:.1f}" y="{_baseline(y0, y1, *caption):.1f}">'
                f"{escaped(shortened(name, 24))}</text>"
            )
    return "".join([*parts, "</g>"])


def _baseline(y0: float, y1: float, side: str, height: int, letters: float) -> float:
    # Missed objects have it above and false detections below, so that both can be read where a
    # wrong class makes one of each in the same place; inside where the picture ends.
    if side == "above":
        return y0 - 0.3 * letters if y0 > 1.3 * letters else y0 + letters
    return y1 + letters if y1 + 1.3 * letters < height else y1 - 0.3 * letters
