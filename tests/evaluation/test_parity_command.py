"""`edgedet parity` from pictures on disk to an exit status, with real models."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.archive import zipped

# They find squares of pure red, green and blue where they fill a cell of their input of 64x64.
MODELS = Path(__file__).parents[1] / "runtime" / "data"
FLOAT, INT8 = MODELS / "blocks-float32.tflite", MODELS / "blocks-int8.tflite"
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SCENES = {"a": [(RED, 32, 48), (BLUE, 96, 0)], "b": [(GREEN, 0, 112)], "c": []}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    directory = tmp_path / "pictures"
    directory.mkdir()
    for name, squares in SCENES.items():
        picture = np.full((128, 128, 3), 128, np.uint8)
        for colour, x, y in squares:
            picture[y : y + 16, x : x + 16] = colour
        Image.fromarray(picture).save(directory / f"{name}.png")
    return directory


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """The float model with two of its class names exchanged."""
    spec, model = zipped.read_model(FLOAT)
    first, second, *rest = spec.labels
    path = tmp_path / "turned.tflite"
    spec = dataclasses.replace(spec, labels=(second, first, *rest))
    path.write_bytes(zipped.append_spec(model, spec))
    return path


Run = Callable[..., Any]


@pytest.fixture
def parity(pictures: Path, edgedet: Run) -> Run:
    """Runs `edgedet parity` on the pictures."""

    def run(*words: object) -> Any:
        return edgedet("parity", *words, "--source", pictures, "--threads", 1)

    return run


def test_files_that_find_the_same_pass(parity: Run) -> None:
    outcome = parity(FLOAT, INT8)
    assert outcome.code == 0, outcome.err
    assert "all within tolerance" in outcome.out
    assert "next: edgedet benchmark" in outcome.out
    assert outcome.err == ""


def test_json_is_one_object(parity: Run) -> None:
    outcome = parity(FLOAT, FLOAT, INT8, "--json")
    content = json.loads(outcome.out)
    assert (outcome.code, content["met"], content["images"]) == (0, True, 3)
    same, quantized = content["files"]
    assert (same["mean_iou"], same["agreement"], same["matched"]) == (1.0, 1.0, 1.0)
    assert same["matched_boxes"] == 3
    assert quantized["tolerance"]["iou"] == 0.93
    assert quantized["precision"] == "int8"


def test_files_that_differ_exit_1_and_say_why(parity: Run, turned: Path) -> None:
    outcome = parity(FLOAT, turned)
    assert outcome.code == 1
    assert "turned.tflite: class agreement" in outcome.out
    assert "beyond tolerance" in outcome.out
    assert re.search("next: edgedet parity .* --out parity", outcome.out)
    content = json.loads(parity(FLOAT, turned, "--json").out)
    assert content["met"] is False
    assert parity(FLOAT, turned, "--min-agreement", 0).code == 0


def test_files_of_one_name_are_told_by_their_paths(parity: Run, turned: Path) -> None:
    Path("other").mkdir()
    Path("other/turned.tflite").write_bytes(turned.read_bytes())
    outcome = parity(FLOAT, turned, "other/turned.tflite", "--out", "out")
    assert "other/turned.tflite: class agreement" in outcome.out
    assert "Where other/turned.tflite differs most" in Path("out/parity.html").read_text()


def test_the_report_shows_the_worst_pictures(parity: Run, turned: Path, tmp_path: Path) -> None:
    outcome = parity(FLOAT, INT8, turned, "--out", "out")
    assert outcome.code == 1
    assert "report: out/parity.html" in outcome.out
    assert f"next: edgedet eval --model {turned}" in outcome.out
    directory = tmp_path / "out"
    assert sorted(path.name for path in directory.iterdir()) == ["parity.html", "parity.json"]
    page = (directory / "parity.html").read_text()
    shown = page[page.index("Where turned.tflite differs most") :]
    names = re.findall(r"<bdi>(\w)\.png</bdi>", shown)
    assert len(names) == len(set(names)) > 0
    assert shown.count("data:image/jpeg;base64,") == len(names)
    assert '<g class="miss"><rect' in shown
    assert "of another class" in shown
    assert json.loads((directory / "parity.json").read_text())["met"] is False


def test_pictures_of_a_data_set(pictures: Path, edgedet: Run, tmp_path: Path) -> None:
    images = [
        {"id": number, "file_name": path.name, "width": 128, "height": 128}
        for number, path in enumerate(sorted(pictures.iterdir()), start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate("rgb", start=1)]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [32, 48, 16, 16], "iscrowd": 0}
    annotated = {"images": images, "annotations": [box], "categories": categories}
    (tmp_path / "val.json").write_text(json.dumps(annotated))
    data = tmp_path / "data.yaml"
    data.write_text("path: .\nval: {images: pictures, annotations: val.json}\nnames: [r, g, b]\n")
    outcome = edgedet("parity", FLOAT, INT8, "--data", data, "--images", 2, "--json")
    content = json.loads(outcome.out)
    assert (outcome.code, content["images"]) == (0, 2)
    assert content["source"] == f"val split of {data}"
    assert content["files"][0]["matched_boxes"] == 3  # two on a.png, one on b.png


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([FLOAT, "--source", "."], "can't be compared alone"),
        ([FLOAT, INT8], "either --source or --data"),
        ([FLOAT, INT8, "--source", ".", "--data", "data.yaml"], "either --source or --data"),
        ([FLOAT, INT8, "--source", "nosuch.png"], "There is no picture nosuch.png"),
        ([FLOAT, "nosuch.tflite", "--source", "pictures"], "nosuch.tflite"),
        ([FLOAT, INT8, "--source", "pictures", "--images", 0], "--images must be 1 or more"),
        ([FLOAT, INT8, "--source", "pictures", "--conf", 2], "conf must be above 0"),
        ([FLOAT, INT8, "--source", "pictures", "--min-iou", 2], "must be from 0 to 1, not 2"),
        ([FLOAT, INT8, "--source", "pictures/c.png"], "which proves nothing"),
    ],
)
def test_bad_input_is_one_sentence_and_exits_2(
    words: list[Any], sentence: str, edgedet: Run, pictures: Path
) -> None:
    outcome = edgedet("parity", *words)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert sentence in outcome.err
    assert outcome.out == ""
