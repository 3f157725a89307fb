"""Assemble a detector from its `ModelSpec`: backbone, heads, raw outputs per level."""

from __future__ import annotations

import math
from dataclasses import replace

import keras

from edgedet.errors import InvalidInputError
from edgedet.models import eff_spinenet
from edgedet.models.blocks import ACTIVATIONS, BlockStyle
from edgedet.models.graph import Tensor
from edgedet.models.heads import CLASS_BIAS, head
from edgedet.models.presets import preset
from edgedet.spec import ModelSpec


def build(
    spec: ModelSpec, *, batch_size: int | None = None, drop_rate: float | None = None
) -> keras.Model:
    """Build the network a spec names, with fresh weights.

    Args:
        spec: architecture name, input size, anchors, labels and activation.
        batch_size: fixed batch, for exports; any batch by default.
        drop_rate: stochastic depth of the last block; the preset's by default. It changes
            training only: no weight depends on it.

    Returns:
        A functional model from normalized images [batch, height, width, 3] to a dict of raw
        heads: `class_3` ... [batch, rows, columns, anchors * classes] logits and `box_3` ...
        [batch, rows, columns, anchors * 4] codes `ty, tx, th, tw`.

    Raises:
        InvalidInputError: the spec names an unknown architecture or activation.
    """
    scale = preset(spec.name).scale
    if drop_rate is not None:
        scale = replace(scale, drop_rate=drop_rate)
    if spec.activation not in ACTIVATIONS:
        raise InvalidInputError(f"There is no activation {spec.activation!r}.")
    style = BlockStyle(activation=spec.activation)
    image = keras.Input(
        (spec.input.height, spec.input.width, 3), batch_size=batch_size, name="image"
    )
    features = eff_spinenet.backbone(image, scale, style)
    features = {level: features[level] for level in spec.anchors.levels}
    anchors = spec.anchors.per_location
    outputs: dict[str, Tensor] = {}
    for name, channels, bias in (
        ("class", anchors * spec.num_classes, CLASS_BIAS),
        ("box", anchors * 4, 0.0),
    ):
        outputs |= head(
            features,
            channels,
            name,
            style=style,
            depth=scale.head_layers,
            width=scale.feature_width,
            bias=bias,
        )
    return keras.Model(image, outputs, name=spec.name.replace("-", "_"))


def count_macs(model: keras.Model) -> int:
    """Multiply-adds of the convolutions for one image (the papers' FLOPs)."""
    total = 0
    for operation in model.operations:
        if not isinstance(operation, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            continue
        for node in operation._inbound_nodes:
            _, rows, columns, channels = node.output_tensors[0].shape
            kernel = math.prod(operation.kernel_size)
            inputs = (
                1
                if isinstance(operation, keras.layers.DepthwiseConv2D)
                else int(node.input_tensors[0].shape[-1])
            )
            total += rows * columns * channels * kernel * inputs
    return total
