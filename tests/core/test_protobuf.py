"""The wire format of Protocol Buffers, beside its own library."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet import archive
from edgedet.archive.protobuf import fields, length_delimited
from edgedet.errors import InvalidInputError
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

SPEC = ModelSpec("m", InputSpec(64, 64), AnchorSpec(), ("cat", "dög"), (17, 18))


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.binary(max_size=300))))
def test_what_was_encoded_is_read_back(parts: list[tuple[int, bytes]]) -> None:
    message = b"".join(length_delimited(number, payload) for number, payload in parts)
    found = list(fields(memoryview(message)))
    assert [(field.number, bytes(field.value)) for field in found] == parts
    assert [field.start for field in found] == [0, *(field.end for field in found)][:-1]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_value_error(message: bytes) -> None:
    try:
        ends = [field.end for field in fields(memoryview(message))]
    except ValueError:
        return
    assert (ends or [0])[-1] == len(message)


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x0a\x05abc", b"\x0b\x0c", b"\x80" * 11, b"\x0d\0\0\0"]
)
def test_messages_that_are_cut_short_are_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number|wire type"):
        list(fields(memoryview(message)))


def test_the_library_reads_what_was_appended() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.ModelProto(ir_version=8, producer_name="tests")
    written = archive.onnx.append_spec(model.SerializeToString(), SPEC)
    read = onnx.ModelProto.FromString(written)
    assert (read.ir_version, read.producer_name) == (8, "tests")
    assert {entry.key: entry.value for entry in read.metadata_props}["edgedet"] == SPEC.to_json()


def test_equal_models_make_equal_files(tmp_path: Path) -> None:
    model = length_delimited(7, b"")
    assert archive.onnx.append_spec(model, SPEC) == archive.onnx.append_spec(model, SPEC)
    (tmp_path / "m.onnx").write_bytes(archive.onnx.append_spec(model, SPEC))
    assert archive.read_spec(tmp_path / "m.onnx") == SPEC


def test_nested_graphs_without_end_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(200):
        # An attribute's graph, in a node, in a graph.
        graph = length_delimited(1, length_delimited(5, length_delimited(6, graph)))
    path = tmp_path / "deep.onnx"
    path.write_bytes(archive.onnx.append_spec(length_delimited(7, graph), SPEC))
    with pytest.raises(InvalidInputError, match=r"deep\.onnx carries no edgedet model spec"):
        archive.read_spec(path)


@pytest.mark.parametrize(
    "model",
    [
        b"\x08\x01" * 101,
        length_delimited(7, length_delimited(1, b"") * 101),
        length_delimited(7, length_delimited(5, b"\x08\x01" * 101)),
    ],
    ids=["model", "graph", "tensor"],
)
def test_fields_without_end_are_refused(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive.onnx, "_MAX_FIELDS", 100)
    path = tmp_path / "many.onnx"
    path.write_bytes(archive.onnx.append_spec(model, SPEC))
    with pytest.raises(InvalidInputError, match=r"many\.onnx carries no edgedet model spec"):
        archive.read_spec(path)
