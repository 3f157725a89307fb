"""What published weights expect of their input: `(value - mean) / std` of RGB in grey levels."""

from __future__ import annotations

from typing import NamedTuple

Triple = tuple[float, float, float]


class Normalization(NamedTuple):
    """Mean and divisor of each channel in grey levels (0..255), RGB."""

    mean: Triple
    std: Triple


GREY = Normalization((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""To -1 .. 1: MobileNetV2's and those of networks without published weights."""

LITE = Normalization((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
"""EfficientNet-Lite's."""

IMAGENET = Normalization(
    (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)
)
"""ImageNet's statistics: EfficientNet's and ResNet's."""
