"""`.tflite` metadata, read back with the schema classes of MediaPipe and of LiteRT."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as litert
from ai_edge_litert.interpreter import Interpreter

import edgedet
from edgedet import archive
from edgedet.archive.tflite_metadata import METADATA_NAME, one_normalization, with_metadata
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

ASSET = Path(edgedet.__file__).parent / "assets" / "digits-m0-int8.tflite"
PER_CHANNEL = ModelSpec(
    "other",
    InputSpec(32, 64, (123.0, 116.0, 103.0), (58.0, 57.0, 56.0)),
    AnchorSpec(),
    ("a",),
    (7,),
)


@pytest.fixture(scope="module")
def asset() -> tuple[ModelSpec, bytes]:
    return archive.read_model(ASSET)


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    """MediaPipe's classes alone; the package around them takes long to import."""
    place = importlib.util.find_spec("mediapipe")
    if place is None or place.submodule_search_locations is None:
        pytest.skip("mediapipe is not installed")
    path = (
        Path(place.submodule_search_locations[0]) / "tasks/metadata/metadata_schema_py_generated.py"
    )
    found = importlib.util.spec_from_file_location("metadata_schema", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["metadata_schema"] = module
    found.loader.exec_module(module)
    yield module
    del sys.modules["metadata_schema"]


def metadata(schema: Any, file: bytes) -> Any:
    model = litert.ModelT.InitFromPackedBuf(file, 0)
    (entry,) = [entry for entry in model.metadata if entry.name == METADATA_NAME]
    content = bytes(model.buffers[entry.buffer].data)
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    return schema.ModelMetadataT.InitFromPackedBuf(content, 0)


def test_the_spec_and_the_labels_are_found_as_before(
    asset: tuple[ModelSpec, bytes], tmp_path: Path
) -> None:
    spec, model = asset
    path = tmp_path / "m.tflite"
    path.write_bytes(with_metadata(model, spec, nms=False))
    assert archive.read_spec(path) == spec
    with zipfile.ZipFile(path) as archived:
        assert archived.read("labels.txt").decode().split("\n")[:-1] == list(spec.labels)
        # MediaPipe reads stored members only.
        assert {entry.compress_type for entry in archived.infolist()} == {zipfile.ZIP_STORED}


def test_the_network_is_the_same(asset: tuple[ModelSpec, bytes]) -> None:
    spec, model = asset
    found = []
    for content in (model, with_metadata(model, spec, nms=False)):
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        (image,) = interpreter.get_input_details()
        values = np.random.default_rng(0).integers(-128, 128, image["shape"]).astype(np.int8)
        interpreter.set_tensor(image["index"], values)
        interpreter.invoke()
        outputs = interpreter.get_output_details()
        found.append([(one["name"], interpreter.get_tensor(one["index"])) for one in outputs])
    for (name, before), (other, after) in zip(*found, strict=True):
        assert name == other
        np.testing.assert_array_equal(before, after)


def test_nothing_of_the_model_is_lost(asset: tuple[ModelSpec, bytes]) -> None:
    spec, model = asset
    before = litert.ModelT.InitFromPackedBuf(model, 0)
    after = litert.ModelT.InitFromPackedBuf(with_metadata(model, spec, nms=False), 0)
    assert (after.version, after.description) == (before.version, before.description)
    assert len(after.buffers) == len(before.buffers) + 1
    for old, new in zip(before.buffers, after.buffers, strict=False):
        np.testing.assert_array_equal(old.data, new.data)
    assert [(e.name, e.buffer) for e in after.metadata][:-1] == [
        (e.name, e.buffer) for e in before.metadata or []
    ]
    assert [s.signatureKey for s in after.signatureDefs] == [b"serving_default"]


def test_buffers_are_aligned_as_before(asset: tuple[ModelSpec, bytes]) -> None:
    spec, model = asset
    before = buffer_starts(model)
    # Whatever the length of the model.
    for extra in (0, 1, 7, 16):
        *after, added = buffer_starts(with_metadata(model + bytes(extra), spec, nms=False))
        moved = {new - old for old, new in zip(before, after, strict=True)}
        assert len(moved) == 1
        assert moved.pop() % 16 == 0
        assert added % 16 == 0


def buffer_starts(model: bytes) -> list[int]:
    root = litert.Model.GetRootAs(model, 0)
    buffers = [root.Buffers(index)._tab for index in range(root.BuffersLength())]
    return [table.Vector(table.Offset(4)) for table in buffers if table.Offset(4)]


def test_metadata_that_is_there_is_replaced(schema: Any, asset: tuple[ModelSpec, bytes]) -> None:
    spec, model = asset
    once = with_metadata(model, PER_CHANNEL, nms=False)
    twice = with_metadata(once, spec, nms=True)
    assert metadata(schema, twice).name == spec.name.encode()
    assert with_metadata(model, spec, nms=True) == with_metadata(model, spec, nms=True)


def test_raw_heads_are_described(schema: Any, asset: tuple[ModelSpec, bytes]) -> None:
    spec, model = asset
    found = metadata(schema, with_metadata(model, spec, nms=False))
    assert (found.name, found.minParserVersion) == (spec.name.encode(), b"1.0.0")
    (subgraph,) = found.subgraphMetadata
    interpreter = Interpreter(model_content=model)
    names = [detail["name"].encode() for detail in interpreter.get_output_details()]
    assert [one.name for one in subgraph.outputTensorMetadata] == names
    assert all(one.description for one in subgraph.outputTensorMetadata)
    (image,) = subgraph.inputTensorMetadata
    properties = image.content.contentProperties
    assert properties.colorSpace == schema.ColorSpaceType.RGB
    size = properties.defaultSize
    assert (size.height, size.width) == (spec.input.height, spec.input.width)
    (unit,) = image.processUnits
    assert unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions
    assert (tuple(unit.options.mean), tuple(unit.options.std)) == (spec.input.mean, spec.input.std)
    np.testing.assert_allclose(image.stats.min, -1)
    np.testing.assert_allclose(image.stats.max, 1)


def test_boxes_are_described_as_the_object_detector_wants_them(
    schema: Any, asset: tuple[ModelSpec, bytes]
) -> None:
    spec, model = asset
    found = metadata(schema, with_metadata(model, spec, nms=True))
    location, category, score, number = found.subgraphMetadata[0].outputTensorMetadata
    names = [one.name for one in (location, category, score, number)]
    assert names == [b"location", b"category", b"score", b"number of detections"]
    box = location.content.contentProperties
    assert list(box.index) == [1, 0, 3, 2]
    assert box.type == schema.BoundingBoxType.BOUNDARIES
    assert box.coordinateType == schema.CoordinateType.RATIO
    (labels,) = category.associatedFiles
    assert labels.name == b"labels.txt"
    assert labels.type == schema.AssociatedFileType.TENSOR_VALUE_LABELS
    for one in (location, category, score):
        assert (one.content.range.min, one.content.range.max) == (2, 2)


def test_a_normalization_per_channel_is_none_of_the_clients(
    schema: Any, asset: tuple[ModelSpec, bytes]
) -> None:
    spec, model = asset
    assert one_normalization(spec)
    assert not one_normalization(PER_CHANNEL)
    cases = [
        (spec, True, [127.5], [127.5]),
        (PER_CHANNEL, True, [0], [1]),
        (PER_CHANNEL, False, [123, 116, 103], [58, 57, 56]),
    ]
    for described, nms, mean, std in cases:
        found = metadata(schema, with_metadata(model, described, nms=nms))
        (image,) = found.subgraphMetadata[0].inputTensorMetadata
        options = image.processUnits[0].options
        assert (list(options.mean), list(options.std)) == (mean, std)
