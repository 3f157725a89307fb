"""`.onnx` files: the spec as an entry of `metadata_props`, read without the package `onnx`.

The entries are appended to the serialized model, which is the same as adding them to the message.
The last of them holds the SHA-256 of all bytes before it, and their number: a program that writes
the file anew keeps the entry but not its place, and then the sum says nothing.

Field numbers are those of `onnx.proto`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgedet.archive.model_file import (
    StoredTensor,
    damaged,
    existing,
    parsed_spec,
    without_spec,
)
from edgedet.archive.protobuf import Field, fields, length_delimited
from edgedet.errors import InvalidInputError
from edgedet.spec import ModelSpec

SPEC_KEY = "edgedet"
DIGEST_KEY = "edgedet_sha256"

# What a protobuf message can be at most.
_MAX_BYTES = 2**31 - 1
# Far more than the largest network has; a file made of nothing but fields would take hours.
_MAX_FIELDS = 4_000_000
_MAX_DEPTH = 32
_MAX_PACKED_BYTES = 1024

_GRAPH, _METADATA = 7, 14
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13

_TYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"}
_TYPES |= {9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16"}

# Messages that can hold tensors, and where: {kind: {field: kind inside}}.
_TENSORS_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {_GRAPH: "graph", 20: "training", 25: "function"},
    "graph": {_NODE: "node", _INITIALIZER: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
}
_DATA_LOCATION, _EXTERNAL = 14, 1


@dataclass(frozen=True)
class Node:
    """An operator of the graph."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """What the main graph declares.

    Attributes:
        inputs: the inputs; constants that older files list among them left out.
        outputs: the outputs.
        nodes: the operators.
        tensors: each tensor that the file describes, by name.
        constants: names of those that are stored.
    """

    inputs: tuple[StoredTensor, ...]
    outputs: tuple[StoredTensor, ...]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, StoredTensor]
    constants: frozenset[str]


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """Read the `ModelSpec` inside an `.onnx` file.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: the file holds no spec or a broken one, or is no ONNX model.
    """
    return read_model(path)[0]


def read_model(path: str | os.PathLike[str]) -> tuple[ModelSpec, bytes]:
    """Read the spec of an `.onnx` file and all of its bytes.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no spec inside, the bytes are not those that were written, or the file
            keeps weights outside itself.
    """
    path = existing(path)
    if path.stat().st_size > _MAX_BYTES:
        raise InvalidInputError(f"{path} is larger than an ONNX model can be; convert it again.")
    model = path.read_bytes()
    try:
        entries = _metadata(model)
        if SPEC_KEY not in entries:
            raise without_spec(path)
        spec = parsed_spec(path, bytes(entries[SPEC_KEY][0]))
        if DIGEST_KEY in entries:
            value, start = entries[DIGEST_KEY]
            length, _, digest = bytes(value).partition(b" ")
            written_here = length == str(start).encode()
            if written_here and hashlib.sha256(model[:start]).hexdigest().encode() != digest:
                raise damaged(path)
        if _Walk().finds_outside(memoryview(model), "model", 0):
            raise InvalidInputError(
                f"{path} keeps weights in other files, which edgedet does not read; save the "
                "model with its weights inside."
            )
    except InvalidInputError:
        raise
    except ValueError:
        raise without_spec(path) from None
    return spec, model


def append_spec(model: bytes, spec: ModelSpec) -> bytes:
    """A serialized model with the spec and the SHA-256 of everything before it."""
    model += _entry(SPEC_KEY, spec.to_json())
    return model + _entry(DIGEST_KEY, f"{len(model)} {hashlib.sha256(model).hexdigest()}")


def read_graph(path: Path, model: bytes) -> Graph:
    """The inputs, outputs and operators of a serialized model.

    Raises:
        InvalidInputError: the bytes are no ONNX model.
    """
    try:
        graph = b"".join(_values(memoryview(model), _GRAPH))
        return _graph(memoryview(graph))
    except ValueError:
        raise InvalidInputError(f"{path} is no ONNX model; convert or copy it again.") from None


def _entry(key: str, value: str) -> bytes:
    pair = length_delimited(1, key.encode()) + length_delimited(2, value.encode())
    return length_delimited(_METADATA, pair)


def _metadata(model: bytes) -> dict[str, tuple[memoryview, int]]:
    """The value of each entry of `metadata_props`, and where the entry begins."""
    entries: dict[str, tuple[memoryview, int]] = {}
    for field in _counted(fields(memoryview(model))):
        if field.number == _METADATA:
            pair = {part.number: part.value for part in fields(_message(field))}
            key, value = pair.get(1), pair.get(2)
            if isinstance(key, memoryview) and isinstance(value, memoryview):
                entries[bytes(key).decode()] = (value, field.start)
    return entries


class _Walk:
    """Looks through a whole model, for as long as its size is sane."""

    def __init__(self) -> None:
        self._seen = 0

    def finds_outside(self, message: memoryview, kind: str, depth: int) -> bool:
        """Whether a tensor inside keeps its values in another file."""
        if depth > _MAX_DEPTH:
            raise ValueError("too deep")
        if kind == "tensor":
            return any(
                field.number == _DATA_LOCATION and field.value == _EXTERNAL
                for field in self._fields(message)
            )
        inside = _TENSORS_INSIDE[kind]
        return any(
            self.finds_outside(_message(field), inside[field.number], depth + 1)
            for field in self._fields(message)
            if field.number in inside
        )

    def _fields(self, message: memoryview) -> Iterator[Field]:
        for field in fields(message):
            self._seen += 1
            if self._seen > _MAX_FIELDS:
                raise ValueError("too many fields")
            yield field


def _counted(found: Iterator[Field]) -> Iterator[Field]:
    for count, field in enumerate(found):
        if count > _MAX_FIELDS:
            raise ValueError("too many fields")
        yield field


def _graph(graph: memoryview) -> Graph:
    nodes = []
    constants: list[StoredTensor] = []
    declared: dict[int, list[StoredTensor]] = {_INPUT: [], _OUTPUT: [], _VALUE_INFO: []}
    for field in _counted(fields(graph)):
        if field.number == _NODE:
            nodes.append(_node(_message(field)))
        elif field.number == _INITIALIZER:
            constants.append(_constant(_message(field)))
        elif field.number in declared:
            declared[field.number].append(_tensor(_message(field)))
    names = frozenset(tensor.name for tensor in constants)
    known = (*declared[_VALUE_INFO], *declared[_INPUT], *declared[_OUTPUT], *constants)
    return Graph(
        inputs=tuple(tensor for tensor in declared[_INPUT] if tensor.name not in names),
        outputs=tuple(declared[_OUTPUT]),
        nodes=tuple(nodes),
        tensors={tensor.name: tensor for tensor in known},
        constants=names,
    )


def _node(node: memoryview) -> Node:
    inputs, outputs, kind = [], [], ""
    for field in fields(node):
        if field.number == 1:
            inputs.append(_text(field))
        elif field.number == 2:
            outputs.append(_text(field))
        elif field.number == 4:
            kind = _text(field)
    return Node(kind, tuple(inputs), tuple(outputs))


def _constant(tensor: memoryview) -> StoredTensor:
    name, dtype, shape = "", "unknown", []
    for field in fields(tensor):
        if field.number == 1:
            # Repeated numbers are packed into one field, or each has its own.
            shape += [field.value] if isinstance(field.value, int) else _packed(field.value)
        elif field.number == 2:
            dtype = _TYPES.get(_number(field), "unknown")
        elif field.number == 8:
            name = _text(field)
    return StoredTensor(name, tuple(shape), dtype)


def _tensor(value: memoryview) -> StoredTensor:
    """A ValueInfoProto: name, and type.tensor_type with elem_type and shape."""
    name, dtype, shape = "", "unknown", []
    for field in fields(value):
        if field.number == 1:
            name = _text(field)
        elif field.number == 2:
            for described in _values(_message(field), 1):
                for part in fields(described):
                    if part.number == 1:
                        dtype = _TYPES.get(_number(part), "unknown")
                    elif part.number == 2:
                        shape = [_side(side) for side in _values(_message(part), 1)]
    return StoredTensor(name, tuple(shape), dtype)


def _side(dimension: memoryview) -> int:
    """The side that a dimension states; -1 for one that is open."""
    sides = [field.value for field in fields(dimension) if field.number == 1]
    return sides[-1] if sides and isinstance(sides[-1], int) else -1


def _packed(values: memoryview) -> list[int]:
    if len(values) > _MAX_PACKED_BYTES:
        raise ValueError("too many sides")
    numbers: list[int] = []
    number = shift = 0
    for byte in values:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return numbers


def _values(message: memoryview, number: int) -> list[memoryview]:
    return [_message(field) for field in _counted(fields(message)) if field.number == number]


def _message(field: Field) -> memoryview:
    if not isinstance(field.value, memoryview):
        raise ValueError("a number where a message belongs")
    return field.value


def _number(field: Field) -> int:
    if not isinstance(field.value, int):
        raise ValueError("a message where a number belongs")
    return field.value


def _text(field: Field) -> str:
    return bytes(_message(field)).decode()
