"""Pictures and annotation files of every format, as tests write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

NAMES = ["cat", "dog"]
# One cat at 10, 20 to 40, 60 in a picture of 100 x 80, in each format's own words.
YOLO_ROW = "0 0.25 0.5 0.3 0.5\n"
VOC_BOX = (11, 21, 40, 60)
BOX = [[10, 20, 40, 60]]


def picture(path: Path, size: tuple[int, int] = (100, 80), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 30, 90)).save(path, **options)
    return path


def voc_xml(
    *objects: tuple[str, Sequence[float]], size: tuple[int, int] | None = (100, 80), extra: str = ""
) -> str:
    sized = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    listed = "".join(
        f"<object><name>{name}</name>{extra}<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in objects
    )
    return f"<annotation><filename>x.jpg</filename>{sized}{listed}</annotation>"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def described(folder: Path, **content: Any) -> Path:
    return write(folder / "data.yaml", yaml.safe_dump({"names": NAMES, **content}, sort_keys=False))
