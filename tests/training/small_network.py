"""The smallest network that the trainer takes for a detector."""

from __future__ import annotations

import keras

from edgedet.models.layers import StochasticDepth
from edgedet.spec import ModelSpec


def network(
    spec: ModelSpec,
    *,
    batch_size: int | None = None,
    drop_rate: float | None = None,
    drop_block: float = 0.0,
) -> keras.Model:
    """Raw heads from one strided convolution per level, with all that has a state: normalization
    and a random layer. It compiles in a second, and the loop knows no difference.
    """
    image = keras.Input((spec.input.height, spec.input.width, 3), batch_size=batch_size)
    x = keras.layers.AveragePooling2D(8)(image)
    outputs = {}
    for level in spec.anchors.levels:
        stride = 1 if level == 3 else 2
        x = keras.layers.Conv2D(8, 3, padding="same", strides=stride, name=f"conv_{level}")(x)
        x = keras.layers.BatchNormalization(name=f"conv_{level}_bn")(x)
        x = StochasticDepth(0.1, name=f"drop_{level}")(x)
        for kind, count in (("class", spec.num_classes), ("box", 4)):
            width = spec.anchors.per_location * count
            outputs[f"{kind}_{level}"] = keras.layers.Conv2D(width, 1, name=f"{kind}_{level}")(x)
    return keras.Model(image, outputs)
