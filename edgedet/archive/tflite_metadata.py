"""Metadata of `.tflite` files in the schema that MediaPipe's tasks read.

The schema is MediaPipe's `metadata_schema.fbs`: a flatbuffer of its own, kept in a buffer of the
model under the name TFLITE_METADATA. The labels it names lie in the archive behind the model, where
edgedet's own spec is (`zipped`).

Reading a spec needs none of this; only the converter does, which has the package `flatbuffers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgedet.archive.zipped import LABELS_MEMBER, append_spec
from edgedet.spec import ModelSpec

METADATA_NAME = b"TFLITE_METADATA"

_MODEL_IDENTIFIER, _METADATA_IDENTIFIER = b"TFL3", b"M001"
# No field here is younger than the schema's first version.
_PARSER_VERSION = "1.0.0"

# Slots of TensorFlow Lite's Model; all but the first hold offsets.
_VERSION, _SUBGRAPHS, _BUFFERS, _METADATA = 0, 2, 4, 6
_SUBGRAPH_TENSORS, _SUBGRAPH_OUTPUTS, _TENSOR_NAME = 0, 2, 3

_RGB, _IMAGE, _BOUNDING_BOX, _NORMALIZATION = 1, 2, 3, 1
_BOUNDARIES, _VALUE_LABELS = 1, 3

# What MediaPipe's object detector asks for, in the order of TFLite_Detection_PostProcess.
_DETECTIONS = (
    ("location", "Boxes as y0, x0, y1, x1 in shares of the input's sides."),
    ("category", f"Class of each box: a line of {LABELS_MEMBER}."),
    ("score", "Confidence of each box, 0 to 1."),
    ("number of detections", "How many boxes there are."),
)
_PER_DETECTION = 2


def with_metadata(model: bytes, spec: ModelSpec, *, nms: bool) -> bytes:
    """A complete `.tflite` file: the model, its metadata, and the spec and labels behind it.

    Args:
        model: a TFLite flatbuffer; metadata that it has is replaced.
        spec: the model's spec.
        nms: whether the model ends in `TFLite_Detection_PostProcess` instead of raw heads; then
            its input is normalized as MediaPipe can (see `one_normalization`).

    Returns:
        The file; as after `zipped.append_spec`, `read_spec` and `read_model` read it.
    """
    metadata = _metadata(spec, _output_names(model), nms=nms)
    return append_spec(_with_buffer(model, METADATA_NAME, metadata), spec)


def one_normalization(spec: ModelSpec) -> bool:
    """Whether all channels share one mean and one divisor, which is all that MediaPipe applies.

    A file with `nms` whose channels differ takes plain grey levels and normalizes them itself.
    """
    return len(set(zip(spec.input.mean, spec.input.std, strict=True))) == 1


def _metadata(spec: ModelSpec, outputs: Sequence[str], *, nms: bool) -> bytes:
    """The metadata of a model with the given output tensors."""
    import flatbuffers

    write = _Writer(flatbuffers.Builder(1024))
    described = _detections(write) if nms else _raw_heads(write, outputs)
    subgraph = write.table({2: write.vector([_image(write, spec, nms=nms)]), 3: described})
    ending = "boxes" if nms else "raw heads"
    root = write.table(
        {
            0: write.text(spec.name),
            1: write.text(f"Object detector that edgedet made; it ends in {ending}."),
            3: write.vector([subgraph]),
            7: write.text(_PARSER_VERSION),
        }
    )
    return write.finished(root, _METADATA_IDENTIFIER)


def _image(write: _Writer, spec: ModelSpec, *, nms: bool) -> int:
    """TensorMetadata of the input."""
    mean, std = spec.input.mean, spec.input.std
    if nms:
        one = one_normalization(spec)
        mean, std = (mean[:1], std[:1]) if one else ((0.0,), (1.0,))  # type: ignore[assignment]
    pairs = list(zip(mean, std, strict=True))
    size = write.table(uints={0: spec.input.width, 1: spec.input.height})
    content = write.table({1: write.table({1: size}, bytes_={0: _RGB})}, bytes_={0: _IMAGE})
    normalization = write.table({0: write.floats(mean), 1: write.floats(std)})
    unit = write.table({1: normalization}, bytes_={0: _NORMALIZATION})
    low, high = [(0 - m) / s for m, s in pairs], [(255 - m) / s for m, s in pairs]
    stats = write.table({0: write.floats(high), 1: write.floats(low)})
    text = "RGB image, its aspect kept, at the top left; the rest is the mean."
    return write.table(
        {
            0: write.text("image"),
            1: write.text(text),
            3: content,
            4: write.vector([unit]),
            5: stats,
        }
    )


def _detections(write: _Writer) -> int:
    """TensorMetadata of the four outputs of TFLite_Detection_PostProcess."""
    labels = write.table(
        {0: write.text(LABELS_MEMBER), 1: write.text("Class names, one a line.")},
        bytes_={2: _VALUE_LABELS},
    )
    box = write.table({0: write.uints((1, 0, 3, 2))}, bytes_={1: _BOUNDARIES})
    tensors = []
    for name, text in _DETECTIONS:
        fields = {0: write.text(name), 1: write.text(text)}
        extent = write.table(ints={0: _PER_DETECTION, 1: _PER_DETECTION})
        if name == "location":
            fields[3] = write.table({1: box, 2: extent}, bytes_={0: _BOUNDING_BOX})
        elif name in ("category", "score"):
            fields[3] = write.table({1: write.table(), 2: extent}, bytes_={0: 1})
        if name == "category":
            fields[6] = write.vector([labels])
        tensors.append(write.table(fields))
    return write.vector(tensors)


def _raw_heads(write: _Writer, outputs: Sequence[str]) -> int:
    """TensorMetadata of raw heads."""
    texts = {
        "class": "Class logits at each place: anchors x classes.",
        "box": "Box codes ty, tx, th, tw at each place: anchors x 4.",
    }
    return write.vector(
        [
            write.table({0: write.text(name), 1: write.text(texts.get(name.partition("_")[0], ""))})
            for name in outputs
        ]
    )


class _Writer:
    """Tables of a flatbuffer, by the slots that their fields have in the schema."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def table(
        self,
        offsets: Mapping[int, int] | None = None,
        *,
        bytes_: Mapping[int, int] | None = None,
        ints: Mapping[int, int] | None = None,
        uints: Mapping[int, int] | None = None,
    ) -> int:
        """A table of what is written already, and of numbers."""
        builder = self._builder
        groups: tuple[tuple[Mapping[int, int], Callable[[int, int, int], None]], ...] = (
            (offsets or {}, builder.PrependUOffsetTRelativeSlot),
            (ints or {}, builder.PrependInt32Slot),
            (uints or {}, builder.PrependUint32Slot),
            (bytes_ or {}, builder.PrependUint8Slot),
        )
        builder.StartObject(1 + max((slot for group, _ in groups for slot in group), default=-1))
        for group, prepend in groups:
            for slot, value in group.items():
                prepend(slot, value, 0)
        return int(builder.EndObject())

    def text(self, text: str | bytes) -> int:
        """A string."""
        return int(self._builder.CreateString(text))

    def vector(self, offsets: Sequence[int]) -> int:
        """A vector of tables."""
        return self._vector(offsets, self._builder.PrependUOffsetTRelative)

    def floats(self, values: Sequence[float]) -> int:
        """A vector of float32."""
        return self._vector(values, self._builder.PrependFloat32)

    def uints(self, values: Sequence[int]) -> int:
        """A vector of uint32."""
        return self._vector(values, self._builder.PrependUint32)

    def aligned(self, content: bytes) -> int:
        """A vector of bytes that begin at a multiple of 16, as TensorFlow Lite's buffers do."""
        self._builder.Prep(16, len(content))
        return int(self._builder.CreateByteVector(content))

    def finished(self, root: int, identifier: bytes) -> bytes:
        """The whole flatbuffer."""
        self._builder.Finish(root, identifier)
        return bytes(self._builder.Output())

    def _vector(self, values: Sequence[Any], prepend: Callable[[Any], None]) -> int:
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            prepend(value)
        return int(self._builder.EndVector())


def _with_buffer(model: bytes, name: bytes, content: bytes) -> bytes:
    """A TFLite model with one buffer more, known by a name; one of that name is forgotten.

    The model stays as it is, behind a new root that points into it: offsets in a flatbuffer are
    relative, and only point forwards.
    """
    import flatbuffers

    write = _Writer(flatbuffers.Builder(len(model) + len(content) + 4096))
    # Where the bytes begin, from the end of the file; a vector begins with its length.
    start = write.aligned(model) - 4
    root = _root(model)
    fields = {slot: start - place for slot, place in _children(root).items()}
    buffers = _elements(root, _BUFFERS)
    entries = [entry for entry in _elements(root, _METADATA) if _string(entry, 0) != name]
    added = write.table({0: write.aligned(content)})
    entry = write.table({0: write.text(name)}, uints={1: len(buffers)})
    fields[_BUFFERS] = write.vector([*(start - one.Pos for one in buffers), added])
    fields[_METADATA] = write.vector([*(start - one.Pos for one in entries), entry])
    place = root.Offset(4 + 2 * _VERSION)
    version = int.from_bytes(model[root.Pos + place : root.Pos + place + 4], "little")
    return write.finished(write.table(fields, uints={_VERSION: version}), _MODEL_IDENTIFIER)


def _output_names(model: bytes) -> list[str]:
    """Names of the output tensors, in the model's order."""
    subgraph = _elements(_root(model), _SUBGRAPHS)[0]
    tensors = _elements(subgraph, _SUBGRAPH_TENSORS)
    slot = subgraph.Offset(4 + 2 * _SUBGRAPH_OUTPUTS)
    start = subgraph.Vector(slot)
    indices = [
        int.from_bytes(model[start + 4 * place : start + 4 * place + 4], "little")
        for place in range(subgraph.VectorLen(slot))
    ]
    return [_string(tensors[index], _TENSOR_NAME).decode("utf-8", "replace") for index in indices]


def _root(model: bytes) -> Any:
    from flatbuffers.table import Table

    return Table(model, int.from_bytes(model[:4], "little"))


def _children(table: Any) -> dict[int, int]:
    """Where each field of the model's root lies that is no number."""
    vtable = table.Pos - int.from_bytes(
        table.Bytes[table.Pos : table.Pos + 4], "little", signed=True
    )
    slots = (int.from_bytes(table.Bytes[vtable : vtable + 2], "little") - 4) // 2
    places = {slot: table.Offset(4 + 2 * slot) for slot in range(_VERSION + 1, slots)}
    return {slot: table.Indirect(table.Pos + at) for slot, at in places.items() if at}


def _elements(table: Any, slot: int) -> list[Any]:
    """The tables of a vector; none where it is absent."""
    from flatbuffers.table import Table

    at = table.Offset(4 + 2 * slot)
    if not at:
        return []
    start = table.Vector(at)
    count = table.VectorLen(at)
    return [Table(table.Bytes, table.Indirect(start + 4 * place)) for place in range(count)]


def _string(table: Any, slot: int) -> bytes:
    at = table.Offset(4 + 2 * slot)
    return bytes(table.String(table.Pos + at)) if at else b""
