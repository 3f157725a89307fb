"""Assemble a detector from its `ModelSpec`: backbone, pyramid, heads, raw outputs per level."""

from __future__ import annotations

from dataclasses import replace

import keras

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import ACTIVATIONS, BlockStyle
from edgedet.models.graph import Tensor
from edgedet.models.heads import CLASS_BIAS, Head
from edgedet.models.presets import Preset, preset, preset_spec
from edgedet.spec import ModelSpec, OptionValue


def build(
    spec: ModelSpec | str,
    *,
    num_classes: int = 90,
    size: int | None = None,
    activation: str | None = None,
    batch_size: int | None = None,
    drop_rate: float | None = None,
    drop_block: float = 0.0,
    **options: OptionValue,
) -> keras.Model:
    """Build a network with fresh weights.

    Args:
        spec: architecture, input size, anchors, labels and activation; or the name of a preset,
            for which the following four and `options` count.
        num_classes: classes of a preset given by name.
        size: side of its square input in pixels; the preset's by default.
        activation: swish, hard_swish, relu6 or relu; the preset's by default.
        batch_size: fixed batch, for exports; any batch by default.
        drop_rate: stochastic depth of the last block; the preset's by default. It changes
            training only: no weight depends on it.
        drop_block: part of the pyramid's features that DropBlock zeroes while training, behind
            every normalization, in blocks of 3x3 (NAS-FPN, section 4.4).
        options: of the preset, as `edgedet.models.configured` takes them: `stacks=7`.

    Returns:
        A functional model from normalized images [batch, height, width, 3] to a dict of raw
        heads: `class_3` ... [batch, rows, columns, anchors * classes] logits and `box_3` ...
        [batch, rows, columns, anchors * 4] codes `ty, tx, th, tw`. An anytime network has
        `exit_1_class_3` ... besides, from the heads after every pyramid but the last; one with an
        exit ends there.

    Raises:
        InvalidInputError: the spec names an unknown architecture, option or activation, or levels
            that the architecture has not; DropBlock for a network without a pyramid.
    """
    if isinstance(spec, str):
        labels = [str(index) for index in range(num_classes)]
        spec = preset_spec(
            spec,
            labels,
            size=size,
            activation=activation,
            **options,  # type: ignore[arg-type]
        )
    chosen = preset(spec.name, spec.options)
    if spec.activation not in ACTIVATIONS:
        raise InvalidInputError(f"There is no activation {spec.activation!r}.")
    style = BlockStyle(activation=spec.activation)
    image = keras.Input(
        (spec.input.height, spec.input.width, 3), batch_size=batch_size, name="image"
    )
    stacks = _features(image, spec, chosen, style, drop_rate, drop_block)
    heads = [
        Head(
            name,
            channels,
            style=style,
            depth=chosen.head.layers,
            width=chosen.head.width,
            separable=chosen.head.separable,
            bias=bias,
        )
        for name, channels, bias in (
            ("class", spec.anchors.per_location * spec.num_classes, CLASS_BIAS),
            ("box", spec.anchors.per_location * 4, 0.0),
        )
    ]
    outputs: dict[str, Tensor] = {}
    if chosen.anytime:
        first = len(stacks) if chosen.exit else 1
        for stack in range(first, len(stacks) + 1):
            for head in heads:
                outputs |= head(stacks[stack - 1], stack=stack, early=stack < len(stacks))
    else:
        for head in heads:
            outputs |= head(stacks[-1])
    return keras.Model(image, outputs, name=spec.name.replace("-", "_"))


def at_exit(
    network: keras.Model,
    spec: ModelSpec,
    stack: int | None = None,
    *,
    batch_size: int | None = None,
) -> tuple[keras.Model, ModelSpec]:
    """The part of an anytime network that ends at one exit, with its weights, and its spec.

    Args:
        network: from `build`, trained or not; one that is not anytime has its last exit only.
        spec: its spec.
        stack: pyramid, from 1, whose heads to keep; the last by default.
        batch_size: fixed batch, for exports.

    Raises:
        InvalidInputError: the network has no such exit.
    """
    chosen = preset(spec.name, spec.options)
    if not chosen.anytime:
        if stack is None:
            return network, spec
        raise InvalidInputError(
            f"This {spec.name} has one exit only; early ones are trained with the option anytime."
        )
    last = chosen.exit or (chosen.pyramid.stacks if chosen.pyramid else 1)
    stack = last if stack is None else stack
    if stack != last and (chosen.exit or not 1 <= stack <= last):
        raise InvalidInputError(f"This {spec.name} has no exit {stack}; its last is {last}.")
    spec = replace(spec, options={**spec.options, "exit": stack})
    part = build(spec, batch_size=batch_size)
    for layer in part.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    return part, spec


def _features(
    image: Tensor,
    spec: ModelSpec,
    chosen: Preset,
    style: BlockStyle,
    drop_rate: float | None,
    drop_block: float,
) -> list[dict[int, Tensor]]:
    """The heads' maps by level, after each pyramid up to the exit."""
    finest, coarsest = chosen.levels
    wanted = spec.anchors.levels
    if wanted[0] < finest or wanted[-1] > coarsest:
        raise InvalidInputError(
            f"{spec.name} has the levels P{finest} to P{coarsest}, "
            f"not P{wanted[0]} to P{wanted[-1]}."
        )
    if drop_block and chosen.pyramid is None:
        raise InvalidInputError(
            f"DropBlock is for the layers of a pyramid, and {spec.name} has none; leave it out."
        )
    rate = chosen.drop_rate if drop_rate is None else drop_rate
    maps = chosen.backbone.features(image, style, drop_rate=rate)
    levels = range(finest, coarsest + 1)
    if chosen.pyramid is None:
        stacks = [maps]
    else:
        pyramid_style = replace(style, drop_block=drop_block)
        stacks = chosen.pyramid.features(maps, levels, pyramid_style)[: chosen.exit]
    return [{level: stack[level] for level in wanted} for stack in stacks]
