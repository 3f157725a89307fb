"""Learned detection policies, with the magnitudes of their open-source release.

Zoph et al. 2019, "Learning Data Augmentation Strategies for Object Detection", arXiv 1906.11172.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


class Operation(NamedTuple):
    """One step of a sub-policy.

    Attributes:
        name: as in the paper; `_BBox` moves the boxes too, `_Only_BBoxes` changes what is in them.
        probability: of being applied; of operations inside boxes, three times that for each box.
        level: 0 to 10, how strong.
    """

    name: str
    probability: float
    level: int

    def within(self, range_end: float) -> float:
        """The magnitude on a range from 0, which level 10 reaches."""
        return range_end * self.level / 10


Policy = tuple[tuple[Operation, ...], ...]


def _policy(text: str) -> Policy:
    """A policy with a sub-policy on each line, `name probability level` for each operation."""
    return tuple(
        tuple(
            Operation(name, float(probability), int(level))
            for name, probability, level in (part.split() for part in line.split(","))
        )
        for line in text.strip().splitlines()
    )


POLICIES: dict[str, Policy] = {
    # The policy of the paper's results.
    "v0": _policy("""
        TranslateX_BBox 0.6 4, Equalize 0.8 10
        TranslateY_Only_BBoxes 0.2 2, Cutout 0.8 8
        Sharpness 0.0 8, ShearX_BBox 0.4 0
        ShearY_BBox 1.0 2, TranslateY_Only_BBoxes 0.6 6
        Rotate_BBox 0.6 10, Color 1.0 6
    """),
    "v1": _policy("""
        TranslateX_BBox 0.6 4, Equalize 0.8 10
        TranslateY_Only_BBoxes 0.2 2, Cutout 0.8 8
        Sharpness 0.0 8, ShearX_BBox 0.4 0
        ShearY_BBox 1.0 2, TranslateY_Only_BBoxes 0.6 6
        Rotate_BBox 0.6 10, Color 1.0 6
        Color 0.0 0, ShearX_Only_BBoxes 0.8 4
        ShearY_Only_BBoxes 0.8 2, Flip_Only_BBoxes 0.0 10
        Equalize 0.6 10, TranslateX_BBox 0.2 2
        Color 1.0 10, TranslateY_Only_BBoxes 0.4 6
        Rotate_BBox 0.8 10, Contrast 0.0 10
        Cutout 0.2 2, Brightness 0.8 10
        Color 1.0 6, Equalize 1.0 2
        Cutout_Only_BBoxes 0.4 6, TranslateY_Only_BBoxes 0.8 2
        Color 0.2 8, Rotate_BBox 0.8 10
        Sharpness 0.4 4, TranslateY_Only_BBoxes 0.0 4
        Sharpness 1.0 4, SolarizeAdd 0.4 4
        Rotate_BBox 1.0 8, Sharpness 0.2 8
        ShearY_BBox 0.6 10, Equalize_Only_BBoxes 0.6 8
        ShearX_BBox 0.2 6, TranslateY_Only_BBoxes 0.2 10
        SolarizeAdd 0.6 8, Brightness 0.8 10
    """),
    "v2": _policy("""
        Color 0.0 6, Cutout 0.6 8, Sharpness 0.4 8
        Rotate_BBox 0.4 8, Sharpness 0.4 2, Rotate_BBox 0.8 10
        TranslateY_BBox 1.0 8, AutoContrast 0.8 2
        AutoContrast 0.4 6, ShearX_BBox 0.8 8, Brightness 0.0 10
        SolarizeAdd 0.2 6, Contrast 0.0 10, AutoContrast 0.6 0
        Cutout 0.2 0, Solarize 0.8 8, Color 1.0 4
        TranslateY_BBox 0.0 4, Equalize 0.6 8, Solarize 0.0 10
        TranslateY_BBox 0.2 2, ShearY_BBox 0.8 8, Rotate_BBox 0.8 8
        Cutout 0.8 8, Brightness 0.8 8, Cutout 0.2 2
        Color 0.8 4, TranslateY_BBox 1.0 6, Rotate_BBox 0.6 6
        Rotate_BBox 0.6 10, BBox_Cutout 1.0 4, Cutout 0.2 8
        Rotate_BBox 0.0 0, Equalize 0.6 6, ShearY_BBox 0.6 8
        Brightness 0.8 8, AutoContrast 0.4 2, Brightness 0.2 2
        TranslateY_BBox 0.4 8, Solarize 0.4 6, SolarizeAdd 0.2 10
        Contrast 1.0 10, SolarizeAdd 0.2 8, Equalize 0.2 4
    """),
    "v3": _policy("""
        Posterize 0.8 2, TranslateX_BBox 1.0 8
        BBox_Cutout 0.2 10, Sharpness 1.0 8
        Rotate_BBox 0.6 8, Rotate_BBox 0.8 10
        Equalize 0.8 10, AutoContrast 0.2 10
        SolarizeAdd 0.2 2, TranslateY_BBox 0.2 8
        Sharpness 0.0 2, Color 0.4 8
        Equalize 1.0 8, TranslateY_BBox 1.0 8
        Posterize 0.6 2, Rotate_BBox 0.0 10
        AutoContrast 0.6 0, Rotate_BBox 1.0 6
        Equalize 0.0 4, Cutout 0.8 10
        Brightness 1.0 2, TranslateY_BBox 1.0 6
        Contrast 0.0 2, ShearY_BBox 0.8 0
        AutoContrast 0.8 10, Contrast 0.2 10
        Rotate_BBox 1.0 10, Cutout 1.0 10
        SolarizeAdd 0.8 6, Equalize 0.8 8
    """),
}

# The release states lengths in pixels of COCO's pictures, whose longer side has 640.
REFERENCE_SIDE = 640

_ROTATION = 30.0
_SHEAR = 0.3
_TRANSLATION = 250.0
_GEOMETRIC = frozenset(
    f"{name}_BBox" for name in ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
)


def choose(
    rng: np.random.Generator, policy: str, width: int, height: int
) -> tuple[Matrix | None, list[Operation]]:
    """Draw a sub-policy and which of its operations take place.

    Args:
        rng: where the choices come from.
        policy: a key of `POLICIES`.
        width: of the picture.
        height: of the picture.

    Returns:
        What the geometric operations together do to points of the picture, [3, 3], None if
        nothing; and the remaining operations in their order. In every sub-policy what is done
        inside boxes comes after all geometry, and what is done to colours does not depend on it.
    """
    policies = POLICIES[policy]
    matrix: Matrix | None = None
    rest = []
    for operation in policies[int(rng.integers(len(policies)))]:
        inside_boxes = operation.name.endswith("_Only_BBoxes")
        if not inside_boxes and rng.random() >= operation.probability:
            continue
        if is_geometric(operation):
            step = geometry(operation, bool(rng.random() < 0.5), width, height)
            if step is not None:
                matrix = step if matrix is None else step @ matrix
        else:
            rest.append(operation)
    return matrix, rest


def is_geometric(operation: Operation) -> bool:
    """Whether an operation moves the whole picture, with its boxes."""
    return operation.name in _GEOMETRIC


def geometry(operation: Operation, negative: bool, width: int, height: int) -> Matrix | None:
    """What a geometric operation does to points of a picture, [3, 3]; None for nothing.

    Rotation is about the centre, clockwise by up to 30 degrees; shear, by up to 0.3, leaves the
    upper left corner in place; translation is by up to 250 of 640 pixels.
    """
    if operation.level == 0:
        return None
    sign = -1.0 if negative else 1.0
    kind = operation.name.partition("_")[0]
    matrix = np.eye(3)
    if kind == "Rotate":
        turn = math.radians(sign * operation.within(_ROTATION))
        cosine, sine = math.cos(turn), math.sin(turn)
        matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
        centre = np.array([width / 2, height / 2])
        matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    elif kind.startswith("Shear"):
        matrix[(0, 1) if kind == "ShearX" else (1, 0)] = sign * operation.within(_SHEAR)
    else:
        pixels = operation.within(_TRANSLATION) * max(width, height) / REFERENCE_SIDE
        matrix[0 if kind == "TranslateX" else 1, 2] = sign * pixels
    return matrix
