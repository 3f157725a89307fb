"""Puts the fusion kernel of libedgedet_openvino into an OpenVINO graph, one node for each fusion.

Nothing calls it by default: OpenVINO's own operators are as fast or faster (docs/fusion.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

_TO_CHANNELS_LAST = [0, 2, 3, 1]
_TO_CHANNELS_FIRST = [0, 3, 1, 2]


@dataclass
class _Fusion:
    """What one node of the kernel replaces: attributes of the node, and its maps [1, C, H, W]."""

    inputs: list[Any] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    halvings: list[int] = field(default_factory=list)
    activation: str = "none"


def insert_fusions(model: Any, library: str | os.PathLike[str]) -> int:
    """Replace the fusions of a float32 model that OpenVINO read from a `.tflite` file.

    A fusion is a sum of maps of which one at least is resampled or scaled, and the activation
    behind it, as for the LiteRT delegate. The core that compiles the model needs no extension.

    Args:
        model: an `openvino.Model` with static shapes; it is changed.
        library: path of libedgedet_openvino, built for this release of OpenVINO.

    Returns:
        How many fusions were replaced.
    """
    from openvino import opset13
    from openvino.utils.node_factory import NodeFactory

    factory = NodeFactory()
    factory.add_extension(os.fspath(library))
    replaced = 0
    for add in model.get_ordered_ops():
        if add.get_type_name() != "Add" or _is_inner(add):
            continue
        fusion = _Fusion()
        if not _collect(add.output(0), fusion, outermost=True):
            continue
        end = _with_activation(add, fusion)
        readers = end.output(0).get_target_inputs()
        maps = [opset13.transpose(source, _TO_CHANNELS_LAST) for source in fusion.inputs]
        attributes = {
            "factors": fusion.factors,
            "repeats": fusion.repeats,
            "halvings": fusion.halvings,
            "activation": fusion.activation,
        }
        fused = factory.create("EdgeDetFusion", [node.output(0) for node in maps], attributes)
        back = opset13.transpose(fused, _TO_CHANNELS_FIRST)
        for reader in readers:
            reader.replace_source_output(back.output(0))
        replaced += 1
    model.validate_nodes_and_infer_types()
    return replaced


def _source(node: Any, index: int = 0) -> Any:
    return node.input(index).get_source_output()


def _constant(output: Any) -> Any:
    """The value of a constant as an array, or None."""
    node = output.get_node()
    return node.data if node.get_type_name() == "Constant" else None


def _only_reader(output: Any) -> Any:
    readers = list(output.get_target_inputs())
    return readers[0].get_node() if len(readers) == 1 else None


def _is_sum(node: Any) -> bool:
    """An Add of two maps of one shape: no bias, nothing broadcast."""
    return node.get_type_name() == "Add" and all(
        _constant(_source(node, i)) is None
        and len(node.get_output_shape(0)) == 4
        and node.get_input_shape(i) == node.get_output_shape(0)
        for i in range(2)
    )


def _is_inner(node: Any) -> bool:
    reader = _only_reader(node.output(0))
    return reader is not None and _is_sum(reader)


def _collect(output: Any, fusion: _Fusion, *, outermost: bool = False) -> bool:
    """Take up all maps of a sum; whether it is a fusion."""
    node = output.get_node()
    if (outermost or _only_reader(output) is not None) and _is_sum(node):
        first = _collect(_source(node, 0), fusion)
        second = _collect(_source(node, 1), fusion)
        return first or second
    if outermost:
        return False
    factor, repeat, halvings = 1.0, 1, 0
    while _only_reader(output) is not None:
        node = output.get_node()
        kind = node.get_type_name()
        number = _number(node) if kind == "Multiply" and not halvings else None
        enlarged = _enlarged(node) if kind == "Transpose" and repeat == 1 and not halvings else None
        if number is not None:
            factor *= number[1]
            output = number[0]
        elif enlarged is not None:
            output, repeat = enlarged
        elif kind == "MaxPool" and repeat == 1 and _halves(node):
            output = _source(node)
            halvings += 1
        else:
            break
    fusion.inputs.append(output)
    fusion.factors.append(factor)
    fusion.repeats.append(repeat)
    fusion.halvings.append(halvings)
    return factor != 1.0 or repeat > 1 or halvings > 0


def _number(multiply: Any) -> tuple[Any, float] | None:
    """The map and the number of a Multiply by a number."""
    for i in range(2):
        value = _constant(_source(multiply, i))
        if value is not None and value.size == 1:
            return _source(multiply, 1 - i), float(value.reshape(()))
    return None


def _enlarged(transpose: Any) -> tuple[Any, int] | None:
    """The map and the factor of a nearest-neighbour up-sampling.

    OpenVINO reads it as an Interpolate of channels-last maps between two Transposes.
    """
    resize = _source(transpose).get_node()
    if resize.get_type_name() != "Interpolate" or _only_reader(_source(transpose)) is None:
        return None
    before = _source(resize).get_node()
    attributes = resize.get_attributes()
    if (
        before.get_type_name() != "Transpose"
        or _only_reader(before.output(0)) is None
        or list(_constant(_source(before, 1))) != _TO_CHANNELS_LAST
        or list(_constant(_source(transpose, 1))) != _TO_CHANNELS_FIRST
        or attributes["mode"] != "nearest"
        or attributes["coordinate_transformation_mode"] != "asymmetric"
        or attributes["nearest_mode"] != "floor"
    ):
        return None
    _, rows, columns, _ = resize.get_input_shape(0)
    factor = resize.get_output_shape(0)[1] // rows
    if factor < 2 or list(resize.get_output_shape(0)[1:3]) != [factor * rows, factor * columns]:
        return None
    return _source(before), int(factor)


def _halves(pool: Any) -> bool:
    attributes = pool.get_attributes()
    return (
        list(attributes["kernel"]) == [3, 3]
        and list(attributes["strides"]) == [2, 2]
        and list(attributes["dilations"]) == [1, 1]
        and attributes["auto_pad"] == "same_upper"
        and not pool.output(1).get_target_inputs()
    )


def _with_activation(add: Any, fusion: _Fusion) -> Any:
    """The node that ends the fusion: the activation behind the sum where there is one."""
    readers = [reader.get_node() for reader in add.output(0).get_target_inputs()]
    kinds = sorted(reader.get_type_name() for reader in readers)
    if kinds == ["Multiply", "Sigmoid"]:
        multiply, sigmoid = sorted(readers, key=lambda reader: str(reader.get_type_name()))
        if _only_reader(sigmoid.output(0)) == multiply:
            fusion.activation = "swish"
            return multiply
    if kinds in (["Relu"], ["HSwish"]):
        fusion.activation = "relu" if kinds == ["Relu"] else "hard_swish"
        return readers[0]
    if kinds == ["Clamp"]:
        attributes = readers[0].get_attributes()
        if (attributes["min"], attributes["max"]) == (0, 6):
            fusion.activation = "relu6"
            return readers[0]
    return add
