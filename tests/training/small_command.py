"""The real command with the smallest network: compiling M0 would take most of a test's time."""

from __future__ import annotations

import sys

import keras

import edgedet.models.saving
import edgedet.training.trainer
from edgedet.cli import main
from edgedet.spec import ModelSpec


def network(
    spec: ModelSpec,
    *,
    batch_size: int | None = None,
    drop_rate: float | None = None,
    drop_block: float = 0.0,
) -> keras.Model:
    """Raw heads from one strided convolution per level."""
    image = keras.Input((spec.input.height, spec.input.width, 3), batch_size=batch_size)
    x = keras.layers.AveragePooling2D(8)(image)
    outputs = {}
    for level in spec.anchors.levels:
        stride = 1 if level == 3 else 2
        x = keras.layers.Conv2D(8, 3, padding="same", strides=stride, name=f"conv_{level}")(x)
        x = keras.layers.BatchNormalization(name=f"conv_{level}_bn")(x)
        for kind, count in (("class", spec.num_classes), ("box", 4)):
            width = spec.anchors.per_location * count
            outputs[f"{kind}_{level}"] = keras.layers.Conv2D(width, 1, name=f"{kind}_{level}")(x)
    return keras.Model(image, outputs)


if __name__ == "__main__":
    edgedet.models.saving.build = edgedet.training.trainer.build = network
    main(sys.argv[1:])
