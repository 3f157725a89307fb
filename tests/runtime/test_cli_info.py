from __future__ import annotations

import json

import pytest


def test_json_describes_the_file(edgedet, int8_file):
    done = edgedet("info", int8_file, "--json")
    report = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert report["name"] == "colour-blocks"
    assert report["bytes"] == int8_file.stat().st_size
    assert report["engine"] == "litert"
    assert report["multiply_adds"] == 1806
    assert report["quantization"] == "int8 input, int8 outputs"
    assert report["labels"] == ["red", "green", "blue"]
    assert report["category_ids"] == [10, 20, 30]
    assert report["anchors"]["scale"] == 1.0
    assert report["provenance"]["seed"] == 0
    assert report["input"]["shape"] == [1, 64, 64, 3]
    assert report["input"]["mean"] == [127.5, 127.5, 127.5]
    assert [tensor["name"] for tensor in report["outputs"]] == [
        *(f"class_{level}" for level in range(3, 8)),
        *(f"box_{level}" for level in range(3, 8)),
    ]
    assert all(tensor["scale"] > 0 for tensor in report["outputs"])


def test_text_shows_the_same(edgedet, int8_file):
    done = edgedet("info", int8_file)
    assert (done.code, done.err) == (0, "")
    for part in (
        "colour-blocks",
        "1.806 k",
        "3: red, green, blue",
        "class_3",
        "1x8x8x3",
        "made by",
    ):
        assert part in done.out
    assert done.out.splitlines()[-1].startswith("next: edgedet detect --model ")


def test_float_tensors_have_no_scale(edgedet, float_file):
    report = json.loads(edgedet("info", float_file, "--json").out)
    assert {tensor["scale"] for tensor in report["outputs"]} == {None}
    assert report["quantization"] == "float32 input, float32 outputs"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("missing.tflite", None, "There is no model file"),
        ("garbage.tflite", b"garbage" * 99, "carries no edgedet model spec"),
        ("picture.png", b"png", "is no model that edgedet runs"),
    ],
)
def test_bad_files_give_one_sentence(edgedet, tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    done = edgedet("info", name)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert message in done.err


def test_a_keras_file_gives_the_parameters_of_the_network(edgedet, keras_model):
    from edgedet.models import count_macs

    path, model, _ = keras_model
    report = json.loads(edgedet("info", path, "--json").out)
    assert report["engine"] == "keras"
    assert report["parameters"] == model.count_params()
    assert report["multiply_adds"] == count_macs(model)
