from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from edgedet import Detections
from edgedet.cli import demo


@pytest.fixture
def assets(tmp_path, monkeypatch, int8_file, scene):
    """Stands for the bundled files: a scene with two squares, one of them named wrongly."""
    squares = [("red", 8, 8, 8), ("blue", 40, 32, 8)]
    Image.fromarray(scene(64, 64, squares)).save(tmp_path / "scene.png")
    truth = {
        "annotations": [
            {"category_id": 10, "bbox": [8, 8, 8, 8]},
            {"category_id": 20, "bbox": [40, 32, 8, 8]},
        ]
    }
    (tmp_path / "scene.json").write_text(json.dumps(truth))
    monkeypatch.setattr(demo, "MODEL", int8_file)
    monkeypatch.setattr(demo, "SCENE", tmp_path / "scene.png")
    monkeypatch.setattr(demo, "TRUTH", tmp_path / "scene.json")


@pytest.mark.usefixtures("assets")
def test_the_demo_finds_measures_and_draws(edgedet, tmp_path):
    done = edgedet("demo")
    assert (done.code, done.err) == (0, "")
    for part in ("red", "blue", "preprocess", "inference", "postprocess", "together"):
        assert part in done.out
    assert "1 of 2 objects found with the right class; see demo.png" in done.out
    assert done.out.splitlines()[-1].startswith("next: edgedet ")
    assert Image.open(tmp_path / "demo.png").size == (64, 64)


@pytest.mark.usefixtures("assets")
def test_json_prints_one_object(edgedet, tmp_path):
    done = edgedet("demo", "--json", "--out", "found/out.jpg", "--threads", 1)
    report = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert (report["found"], report["objects"], report["threads"]) == (1, 2, 1)
    assert list(report["speed"]) == ["preprocess", "inference", "postprocess"]
    assert len(report["detections"]) == 2
    assert (tmp_path / "found" / "out.jpg").is_file()
    assert not (tmp_path / "demo.png").exists()


@pytest.mark.usefixtures("assets")
@pytest.mark.parametrize("name", ["MODEL", "SCENE", "TRUTH"])
def test_a_missing_asset_is_named(edgedet, tmp_path, monkeypatch, name):
    monkeypatch.setattr(demo, name, tmp_path / "gone.bin")
    done = edgedet("demo")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: The bundled gone.bin is missing; install edgedet again.\n"
    assert not (tmp_path / "demo.png").exists()


@pytest.mark.parametrize(
    ("boxes", "class_ids", "expected"),
    [
        ([], [], 0),
        ([[0, 0, 10, 10]], [0], 1),
        ([[0, 0, 10, 10]], [1], 0),  # the wrong class
        ([[0, 0, 10, 4]], [0], 0),  # IoU 0.4
        ([[0, 0, 10, 10], [0, 0, 10, 10]], [0, 0], 1),  # one object is found once
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1], 2),
        ([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], [0, 1, 1], 2),
    ],
)
def test_objects_count_as_found_by_class_and_overlap(boxes, class_ids, expected):
    result = Detections(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, len(boxes)),
        np.asarray(class_ids, int),
        ("cat", "dog"),
        (3, 4),
    )
    truth = {
        "annotations": [
            {"category_id": 3, "bbox": [0, 0, 10, 10]},
            {"category_id": 4, "bbox": [20, 0, 10, 10]},
        ]
    }
    assert demo.count_found(result, truth) == (expected, 2)
