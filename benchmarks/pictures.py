"""The picture that latency is measured on when the user names none."""

from __future__ import annotations

import importlib.resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgedet.errors import MissingFileError

WIDTH, HEIGHT = 640, 480


def standard_picture() -> NDArray[np.uint8]:
    """The bundled scene at 640x480, RGB uint8 [480, 640, 3].

    A scene with objects in it, because post-processing takes longer the more there is to find.

    Raises:
        MissingFileError: the package was installed without it.
    """
    scene = importlib.resources.files("edgedet") / "assets" / "scene.png"
    if not scene.is_file():
        raise MissingFileError("The bundled scene.png is missing; install edgedet again.")
    with scene.open("rb") as file, Image.open(file) as picture:
        fitted = picture.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(fitted, dtype=np.uint8)
