"""OpenVINO's `.xml` with its `.bin`: the spec as an entry of `rt_info`, read without OpenVINO.

The spec is the value of `model_info/edgedet`. A comment behind the document holds the SHA-256 of
everything before it and of the `.bin`: programs that write the file anew drop it.

The XML is read as data only: document types, and with them entities, are refused.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from edgedet.archive.model_file import (
    StoredTensor,
    damaged,
    existing,
    parsed_spec,
    without_spec,
)
from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.plain_xml import parse_xml
from edgedet.spec import ModelSpec

RT_INFO_PATH = ("model_info", "edgedet")

_DIGEST = re.compile(rb"<!-- edgedet sha256 ([0-9a-f]{64}) -->\s*\Z")
_DIGEST_BYTES = 200

# The largest preset's is a few MB.
_MAX_XML_BYTES = 64 * 2**20
_MAX_ELEMENTS = 3_000_000
_MAX_DEPTH = 64

_TYPES = {"FP32": "float32", "FP16": "float16", "BF16": "bfloat16", "FP64": "float64"}
_TYPES |= {"I8": "int8", "U8": "uint8", "I16": "int16", "U16": "uint16", "I32": "int32"}
_TYPES |= {"I64": "int64", "U64": "uint64", "U32": "uint32", "BOOL": "bool"}


@dataclass(frozen=True)
class Layer:
    """An operator.

    Attributes:
        kind: OpenVINO's name of it.
        inputs: shapes of what it reads.
        outputs: what it computes.
        sources: (layer, port) of what it reads.
    """

    kind: str
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[StoredTensor, ...]
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Network:
    """What an `.xml` declares.

    Attributes:
        inputs: the inputs.
        outputs: the outputs; one entry for each name of a tensor that has several.
        layers: the operators by the file's id.
    """

    inputs: tuple[StoredTensor, ...]
    outputs: tuple[StoredTensor, ...]
    layers: Mapping[str, Layer]


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """Read the `ModelSpec` inside an `.xml` file.

    Raises:
        MissingFileError: it or its `.bin` is missing.
        InvalidInputError: the file holds no spec or a broken one, or is no IR of OpenVINO.
    """
    return read_model(path)[0]


def read_model(path: str | os.PathLike[str]) -> tuple[ModelSpec, bytes, bytes]:
    """Read the spec of an `.xml` file, its bytes, and those of its `.bin`.

    Raises:
        MissingFileError: one of the two is missing.
        InvalidInputError: no spec inside, or the bytes are not those that were written.
    """
    path = existing(path)
    if path.stat().st_size > _MAX_XML_BYTES:
        raise InvalidInputError(
            f"{path} is larger than {_MAX_XML_BYTES // 2**20} MiB, which no network of edgedet is; "
            "convert it again."
        )
    weights_path = path.with_suffix(".bin")
    if not weights_path.is_file():
        raise MissingFileError(
            f"There is no {weights_path}, which holds the weights of {path}; "
            "copy the two files together."
        )
    xml = path.read_bytes()
    weights = existing(weights_path).read_bytes()
    spec = _spec(path, _parsed(path, xml))
    if found := _DIGEST.search(xml, max(0, len(xml) - _DIGEST_BYTES)):
        total = hashlib.sha256(xml[: found.start()])
        total.update(weights)
        if total.hexdigest().encode() != found[1]:
            raise damaged(path)
    return spec, xml, weights


def add_digest(xml: bytes, weights: bytes) -> bytes:
    """An `.xml` with the SHA-256 of it and of its `.bin` behind the document."""
    total = hashlib.sha256(xml)
    total.update(weights)
    return xml + f"<!-- edgedet sha256 {total.hexdigest()} -->\n".encode()


def read_network(path: Path, xml: bytes) -> Network:
    """The inputs, outputs and operators of an `.xml`.

    Raises:
        InvalidInputError: it is no IR of OpenVINO.
    """
    try:
        return _network(_parsed(path, xml))
    except (LookupError, ValueError):
        raise InvalidInputError(
            f"{path} is no network of OpenVINO; convert or copy it again."
        ) from None


def _spec(path: Path, root: ElementTree.Element) -> ModelSpec:
    entry = root.find("/".join((".", "rt_info", *RT_INFO_PATH)))
    text = None if entry is None else entry.get("value")
    if text is None:
        raise without_spec(path)
    return parsed_spec(path, text)


def _parsed(path: Path, xml: bytes) -> ElementTree.Element:
    """The root of the document."""
    try:
        return parse_xml(xml, depth=_MAX_DEPTH, elements=_MAX_ELEMENTS)
    except ValueError:
        raise without_spec(path) from None


def _network(root: ElementTree.Element) -> Network:
    sources: dict[str, dict[int, tuple[str, str]]] = {}
    for edge in root.iterfind("./edges/edge"):
        source = edge.attrib["from-layer"], edge.attrib["from-port"]
        sources.setdefault(edge.attrib["to-layer"], {})[int(edge.attrib["to-port"])] = source
    layers = {}
    ports: dict[tuple[str, str], list[StoredTensor]] = {}
    for layer in root.iterfind("./layers/layer"):
        number = layer.attrib["id"]
        outputs = []
        for port in layer.iterfind("./output/port"):
            names = ports[number, port.attrib["id"]] = _tensors(port)
            outputs.append(names[0])
        read = sources.get(number, {})
        layers[number] = Layer(
            layer.attrib["type"],
            tuple(_sides(port) for port in layer.iterfind("./input/port")),
            tuple(outputs),
            tuple(read[place] for place in sorted(read)),
        )
    kinds = {number: layer.kind for number, layer in layers.items()}
    inputs = tuple(layers[n].outputs[0] for n, kind in kinds.items() if kind == "Parameter")
    results = [layers[n].sources[0] for n, kind in kinds.items() if kind == "Result"]
    return Network(inputs, tuple(one for source in results for one in ports[source]), layers)


def _tensors(port: ElementTree.Element) -> list[StoredTensor]:
    precision = port.get("precision", "")
    dtype = _TYPES.get(precision, precision or "unknown")
    # A comma inside a name has a backslash before it.
    names = re.split(r"(?<!\\),", port.get("names", ""))
    return [StoredTensor(name, _sides(port), dtype) for name in names]


def _sides(port: ElementTree.Element) -> tuple[int, ...]:
    return tuple(int(side.text or "-1") for side in port.iterfind("dim"))
