from __future__ import annotations

import numpy as np
import pytest

from edgedet.runtime.palette import PALETTE, look, relative_luminance, text_colour

LOOKS = [look(index) for index in range(63)]

# How people see linear RGB: normal vision, and none of the long, middle or short cones.
# Machado, Oliveira and Fernandes 2009, "A Physiologically-based Model for Simulation of Color
# Vision Deficiency", table 1, severity 1.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def oklab(linear):
    """Ottosson 2020, "A perceptual color space for image processing"."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    opponents = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(linear @ np.transpose(cones)) @ np.transpose(opponents)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize(("count", "least"), [(7, 0.07), (21, 0.03)])
def test_colours_differ_for_readers_with_any_colour_vision(vision, count, least):
    """In Oklab, where about 0.02 is just noticeable."""
    srgb = np.array([one.colour for one in LOOKS[:count]]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1))
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    assert distances[~np.eye(count, dtype=bool)].min() > least


def test_sixty_three_classes_look_different():
    assert len(set(LOOKS)) == 63
    assert [one.colour for one in LOOKS[:7]] == list(PALETTE)
    assert {one.dash for one in LOOKS[:21]} == {"solid"}
    assert look(63) == look(0)


@pytest.mark.parametrize("colour", [one.colour for one in LOOKS[:21]])
def test_text_stands_out_from_every_colour(colour):
    """At least 4.5 to 1, what WCAG 2.1 asks of text (success criterion 1.4.3)."""
    lights = sorted((relative_luminance(colour), relative_luminance(text_colour(colour))))
    assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5
