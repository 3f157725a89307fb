"""Rematerialization: the backward pass computes activations anew instead of keeping them.

The network's graph is cut into segments where few values cross. Kept are those values alone; what
lies within a segment is computed again when the backward pass comes to it (Chen et al. 2016,
"Training deep nets with sublinear memory cost"). Keras's own `RematScope` is of no use here: under
JAX it fails with any layer that is told `training`, batch normalization among them, and keeps the
values between all layers.
"""

from __future__ import annotations

import inspect
import math
import re
from typing import Any, NamedTuple

import keras

from edgedet.errors import InvalidInputError
from edgedet.spec import ModelSpec

Tensor = Any

_LARGE = re.compile(r"efficientdet-d[5-7]")


def rematerializes(spec: ModelSpec, wanted: bool | None) -> bool:
    """Whether a run rematerializes.

    Args:
        spec: what is trained; EfficientDet-D5 and larger do so by default.
        wanted: the user's choice, or None.

    Raises:
        InvalidInputError: it is wanted of a backend that does not offer it.
    """
    under_jax = keras.backend.backend() == "jax"
    if wanted and not under_jax:
        raise InvalidInputError(
            f"The {keras.backend.backend()} backend keeps all activations: choose --backend jax "
            "for --remat."
        )
    return under_jax and (bool(_LARGE.match(spec.name)) if wanted is None else wanted)


class _Segment(NamedTuple):
    """A stretch of the graph's nodes, and the tensors of the graph it takes and leaves."""

    nodes: list[Any]
    taken: list[Any]
    left: list[Any]


class Rematerialized:
    """Calls a network as `network(images, training=True)` does, keeping little; JAX only.

    Args:
        network: a functional model; all its state must be in its variables.
        segments: how many to cut it into, about; by default a third of the square root of its
            operations, which took the least memory of those tried.
    """

    def __init__(self, network: keras.Model, segments: int | None = None) -> None:
        self._input = network.inputs[0]
        self._outputs = network.output
        self._segments = _segments(network, segments)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The network's outputs for normalized images [B, H, W, 3]."""
        values = {id(self._input): images}
        for segment in self._segments:
            outputs = _call_rematerialized(segment, [values[id(t)] for t in segment.taken])
            values.update(zip(map(id, segment.left), outputs, strict=True))
        return {name: values[id(tensor)] for name, tensor in self._outputs.items()}


def _call_rematerialized(segment: _Segment, inputs: list[Tensor]) -> list[Tensor]:
    import jax

    variables = list(
        {
            id(v): v for node in segment.nodes for v in getattr(node.operation, "variables", ())
        }.values()
    )
    changing = [variable for variable in variables if not variable.trainable]

    def call(values: list[Any], inputs: list[Any]) -> tuple[list[Any], list[Any]]:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            outputs = _run(segment, inputs)
        return outputs, [scope.get_current_value(variable) for variable in changing]

    # Statistics and random states leave as results: assigned inside, they could not get out.
    outputs, state = jax.checkpoint(call)([variable.value for variable in variables], inputs)
    for variable, value in zip(changing, state, strict=True):
        variable.assign(value)
    found: list[Tensor] = outputs
    return found


def _run(segment: _Segment, inputs: list[Tensor]) -> list[Tensor]:
    values = dict(zip(map(id, segment.taken), inputs, strict=True))
    for node in segment.nodes:
        words, named = node.arguments.fill_in(values)
        if "training" in inspect.signature(node.operation.call).parameters:
            named = {**named, "training": True}
        outputs = keras.tree.flatten(node.operation(*words, **named))
        values.update(zip(map(id, node.output_tensors), outputs, strict=True))
    return [values[id(tensor)] for tensor in segment.left]


def _segments(network: keras.Model, count: int | None) -> list[_Segment]:
    """The network's graph in stretches that follow each other."""
    nodes = _ordered(network)
    last_use = {id(tensor): len(nodes) for tensor in network.outputs}
    for place, node in reversed(list(enumerate(nodes))):
        for tensor in node.input_tensors:
            last_use.setdefault(id(tensor), place)
    crossing, live = [], 0
    freed = [0] * (len(nodes) + 1)
    for place, node in enumerate(nodes):
        for tensor in node.output_tensors:
            live += _size(tensor)
            freed[last_use.get(id(tensor), place)] += _size(tensor)
        live -= freed[place]
        crossing.append(live)
    cuts = _cuts(
        [sum(map(_size, node.output_tensors)) for node in nodes],
        crossing,
        count or max(2, math.isqrt(len(nodes)) // 3),
    )
    segments = []
    for start, end in zip([0, *cuts], [*cuts, len(nodes)], strict=True):
        stretch = nodes[start:end]
        made = {id(tensor): tensor for node in stretch for tensor in node.output_tensors}
        needed = {id(tensor): tensor for node in stretch for tensor in node.input_tensors}
        taken = [tensor for key, tensor in needed.items() if key not in made]
        left = [tensor for key, tensor in made.items() if last_use.get(key, -1) >= end]
        segments.append(_Segment(stretch, taken, left))
    return segments


def _cuts(made: list[int], crossing: list[int], count: int) -> list[int]:
    """Places to cut a list of nodes: one in each of `count` stretches that make equally much.

    Args:
        made: what each node makes, in elements.
        crossing: what is alive behind each node.
        count: of stretches.
    """
    share = sum(made) / count
    cuts: list[int] = []
    best, total = 0, 0.0
    for place in range(len(made) - 1):
        total += made[place]
        if best <= (cuts[-1] if cuts else 0) or crossing[place] <= crossing[best - 1]:
            best = place + 1
        if total >= share:
            cuts.append(best)
            total = sum(made[best : place + 1])
    return cuts


def _ordered(network: keras.Model) -> list[Any]:
    """The nodes of the graph, each behind those it needs, one output after another."""
    seen = {id(_node(tensor)) for tensor in network.inputs}
    ordered = []
    stack = [(_node(tensor), False) for tensor in reversed(network.outputs)]
    while stack:
        node, ready = stack.pop()
        if ready:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((_node(tensor), False) for tensor in reversed(node.input_tensors))
    return ordered


def _node(tensor: Any) -> Any:
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def _size(tensor: Any) -> int:
    return math.prod(size or 1 for size in tensor.shape)
