"""A Keras network as operations that can be rewritten, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(eq=False)
class Operation:
    """One application of a layer.

    Attributes:
        name: of the layer; made unique in the network written.
        kind: class of the layer.
        config: what the layer is made from.
        inputs: operations whose results it takes.
        area: pixels of its result, 1 for what is no map.
        listed: whether it takes them as a list.
        weights: of the layer, in Keras's order; in float64, so that folding rounds once.
        layer: the layer it was read from, which several operations may share; None for one with
            weights or a configuration of its own.
    """

    name: str
    kind: type[keras.layers.Layer]
    config: dict[str, Any]
    inputs: list[Operation]
    area: int
    listed: bool = False
    weights: list[Array] = field(default_factory=list)
    layer: keras.layers.Layer | None = None

    def is_a(self, *kinds: type[keras.layers.Layer]) -> bool:
        """Whether it is of one of these kinds."""
        return issubclass(self.kind, kinds)

    @property
    def is_linear_convolution(self) -> bool:
        """Whether it is a plain or depthwise convolution of channels-last maps, and no more."""
        return (
            self.is_a(keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
            and not self.is_a(keras.layers.Conv2DTranspose, keras.layers.SeparableConv2D)
            and self.config["activation"] == "linear"
            and self.config["data_format"] == "channels_last"
        )

    @property
    def is_pointwise_convolution(self) -> bool:
        """Whether it is a 1x1 convolution of stride 1, its activation included."""
        return (
            self.is_a(keras.layers.Conv2D)
            and not self.is_a(keras.layers.Conv2DTranspose, keras.layers.SeparableConv2D)
            and tuple(self.config["kernel_size"]) == (1, 1)
            and tuple(self.config["strides"]) == (1, 1)
            and self.config["data_format"] == "channels_last"
        )

    @property
    def kernel(self) -> Array:
        """Weights of a convolution, [height, width, in, out] or [height, width, channels, 1]."""
        return self.weights[0]

    @property
    def bias(self) -> Array:
        """Bias of a convolution, zeros where it has none."""
        if self.config["use_bias"]:
            return self.weights[1]
        if self.is_a(keras.layers.DepthwiseConv2D):
            return np.zeros(self.kernel.shape[2] * self.kernel.shape[3])
        return np.zeros(self.kernel.shape[3])

    def scaled(self, factor: Array | float, shift: Array | float | None = None) -> None:
        """Make a convolution return `factor` times its result, plus `shift` (by channel)."""
        kernel, bias = self.kernel, self.bias
        factors = np.broadcast_to(np.asarray(factor, np.float64), bias.shape)
        depthwise = self.is_a(keras.layers.DepthwiseConv2D)
        by_output = factors.reshape(kernel.shape[2:]) if depthwise else factors
        self.weights = [kernel * by_output]
        if shift is not None or self.config["use_bias"]:
            self.weights.append(bias * factors + (0.0 if shift is None else shift))
            self.config = {**self.config, "use_bias": True}
        self.layer = None


@dataclass
class Network:
    """A functional network.

    Attributes:
        name: of the network.
        inputs: its inputs, in order.
        outputs: by name.
    """

    name: str
    inputs: list[Operation]
    outputs: dict[str, Operation]

    def operations(self) -> list[Operation]:
        """All that the outputs depend on, each after its inputs."""
        ordered: dict[Operation, None] = dict.fromkeys(self.inputs)
        # The networks are deeper than Python's stack.
        waiting = list(reversed(self.outputs.values()))
        while waiting:
            operation = waiting[-1]
            missing = [source for source in operation.inputs if source not in ordered]
            if missing and operation not in ordered:
                waiting.extend(reversed(missing))
            else:
                ordered.setdefault(waiting.pop())
        return list(ordered)

    def readers(self) -> dict[Operation, list[Operation | None]]:
        """Who reads each operation's result, once for each time; None is the caller."""
        found: dict[Operation, list[Operation | None]] = {}
        for operation in self.operations():
            found.setdefault(operation, [])
            for source in operation.inputs:
                found[source].append(operation)
        for operation in self.outputs.values():
            found[operation].append(None)
        return found

    def replace(self, old: Operation, new: Operation) -> None:
        """Let all that read `old` read `new`."""
        for operation in self.operations():
            if operation is not new:
                operation.inputs = [new if read is old else read for read in operation.inputs]
        self.outputs = {name: new if read is old else read for name, read in self.outputs.items()}


def read(model: keras.Model) -> Network:
    """The network of a functional model with a dict of outputs."""
    made: dict[int, Operation] = {}
    for node in _nodes(model):
        layer = node.operation
        (result,) = node.output_tensors
        operation = Operation(
            name=layer.name,
            kind=type(layer),
            config=layer.get_config(),
            inputs=[made[id(tensor)] for tensor in node.input_tensors],
            area=math.prod(result.shape[1:3]) if len(result.shape) == 4 else 1,
            listed=bool(node.arguments.args) and isinstance(node.arguments.args[0], list),
            weights=[np.asarray(value, np.float64) for value in layer.get_weights()],
            layer=layer,
        )
        made[id(result)] = operation
    return Network(
        model.name,
        [made[id(tensor)] for tensor in model.inputs],
        {name: made[id(tensor)] for name, tensor in model.output.items()},
    )


def _nodes(model: keras.Model) -> Iterator[Any]:
    by_depth = model._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def write(network: Network) -> keras.Model:
    """The network as a Keras model; operations that still share a layer share it again."""
    layers: dict[int, keras.layers.Layer] = {}
    names: set[str] = set()
    results: dict[Operation, Any] = {}
    for operation in network.operations():
        if operation in network.inputs:
            config = operation.config
            names.add(operation.name)
            results[operation] = keras.Input(
                batch_shape=config["batch_shape"], dtype=config["dtype"], name=operation.name
            )
            continue
        taken = [results[source] for source in operation.inputs]
        identity = id(operation.layer or operation)
        fresh = identity not in layers
        if fresh:
            layers[identity] = _layer(operation, _free(operation.name, names))
        results[operation] = layers[identity](taken if operation.listed else taken[0])
        if fresh and operation.weights:
            layers[identity].set_weights(operation.weights)
    outputs = {name: results[operation] for name, operation in network.outputs.items()}
    inputs = [results[entry] for entry in network.inputs]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=network.name)


def _layer(operation: Operation, name: str) -> keras.layers.Layer:
    # The weights are known: drawing others first takes longer than all else.
    known = {key: "zeros" for key in operation.config if key.endswith("_initializer")}
    return operation.kind.from_config({**operation.config, **known, "name": name})


def _free(name: str, names: set[str]) -> str:
    number, chosen = 0, name
    while chosen in names:
        number += 1
        chosen = f"{name}_{number}"
    names.add(chosen)
    return chosen
