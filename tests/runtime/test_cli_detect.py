from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture(tmp_path, scene):
    path = tmp_path / "street.png"
    Image.fromarray(scene(64, 64, [("red", 8, 8, 8), ("blue", 40, 32, 8)])).save(path)
    return path


@pytest.fixture
def album(tmp_path, scene):
    """Three pictures, with one, two and no objects."""
    squares = [("red", 8, 8, 8), ("green", 40, 40, 8)]
    (tmp_path / "album").mkdir()
    for count, name in ((1, "p2.jpg"), (2, "p10.png"), (0, "p11.png")):
        picture = Image.fromarray(scene(64, 64, squares[:count]))
        picture.save(tmp_path / "album" / name, **({"quality": 95} if "jpg" in name else {}))
    return tmp_path / "album"


def tree(directory):
    """Every file below, relative."""
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def test_one_picture_gives_a_table_and_an_annotated_picture(edgedet, int8_file, picture, tmp_path):
    done = edgedet("detect", "--model", int8_file, "--source", picture)
    assert done.code == 0
    assert re.search(r"red +│ +1\.00", done.out)
    assert re.search(r"blue +│ +1\.00", done.out)
    assert "2 objects in 1 picture; preprocess" in done.out
    assert done.out.splitlines()[-1].startswith("next: edgedet benchmark ")
    assert done.err == ""
    assert tree(tmp_path / "runs") == ["detect/exp/street.png"]
    annotated = np.asarray(Image.open(tmp_path / "runs/detect/exp/street.png"))
    assert annotated.shape == (64, 64, 3)
    assert (annotated != np.asarray(Image.open(picture))).any()


@pytest.mark.parametrize("pattern", ["", "/*.*"])
def test_many_pictures_give_a_row_each(edgedet, int8_file, album, tmp_path, pattern):
    done = edgedet("detect", "--model", int8_file, "--source", f"{album}{pattern}")
    assert done.code == 0
    rows = re.findall(r"(p\d+)\.\w+ +│ +(\d)", done.out)
    assert rows == [("p2", "1"), ("p10", "2"), ("p11", "0")]
    assert "3 objects in 3 pictures" in done.out
    assert tree(tmp_path / "runs/detect/exp") == ["p10.png", "p11.png", "p2.jpg"]


def test_json_prints_one_object_and_nothing_else(edgedet, int8_file, album):
    done = edgedet("detect", "--model", int8_file, "--source", album, "--json")
    report = json.loads(done.out)
    assert done.code == 0
    assert done.err == ""
    assert report["engine"] == "litert"
    assert report["directory"] == "runs/detect/exp"
    assert report["failed"] == []
    assert [len(image["detections"]) for image in report["images"]] == [1, 2, 0]
    first = report["images"][0]["detections"][0]
    assert (first["label"], first["category_id"]) == ("red", 10)


def test_json_and_text_files_are_written_when_asked_for(edgedet, int8_file, album, tmp_path):
    done = edgedet(
        "detect", "--model", int8_file, "--source", album, "--save-json", "--save-txt", "--no-save"
    )
    assert done.code == 0
    run = tmp_path / "runs/detect/exp"
    assert tree(run) == ["detections.json", "labels/p10.txt", "labels/p11.txt", "labels/p2.txt"]
    saved = json.loads((run / "detections.json").read_text())
    assert [len(image["detections"]) for image in saved] == [1, 2, 0]
    assert (run / "labels/p11.txt").read_text() == ""
    assert len((run / "labels/p10.txt").read_text().splitlines()) == 2


def test_nothing_is_written_with_no_save(edgedet, int8_file, picture, tmp_path):
    done = edgedet("detect", "--model", int8_file, "--source", picture, "--no-save")
    assert done.code == 0
    assert not (tmp_path / "runs").exists()


def test_options_reach_the_detector(edgedet, int8_file, picture):
    base = ("detect", "--model", int8_file, "--source", picture, "--json", "--no-save")
    few = json.loads(edgedet(*base, "--max-det", 1, "--threads", 2, "--engine", "litert").out)
    assert (len(few["images"][0]["detections"]), few["threads"]) == (1, 2)
    tiled = json.loads(edgedet(*base, "--tile", 32, "--overlap", 0.5).out)
    assert tiled["images"][0]["speed"].keys() >= few["images"][0]["speed"].keys()
    assert {entry["label"] for entry in tiled["images"][0]["detections"]} == {"red", "blue"}
    none = json.loads(edgedet(*base, "--conf", 1).out)
    assert none["images"][0]["detections"] == []


def test_an_empty_result_proposes_a_lower_threshold(edgedet, int8_file, picture):
    done = edgedet("detect", "--model", int8_file, "--source", picture, "--conf", 1)
    assert done.out.splitlines()[-1].endswith("--conf 0.05")


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (10, 20000), (3, 2)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_pictures_of_extreme_shapes_are_handled(edgedet, int8_file, tmp_path, size, suffix):
    Image.new("RGB", size, (255, 0, 0)).save(tmp_path / f"odd.{suffix}")
    done = edgedet("detect", "--model", int8_file, "--source", f"odd.{suffix}", "--conf", 0.01)
    assert done.code == 0
    assert Image.open(tmp_path / f"runs/detect/exp/odd.{suffix}").size == size


def test_earlier_runs_are_kept(edgedet, int8_file, picture, tmp_path):
    for _ in range(2):
        edgedet("detect", "--model", int8_file, "--source", picture)
    for _ in range(2):
        edgedet("detect", "--model", int8_file, "--source", picture, "--name", "mine")
    assert tree(tmp_path / "runs/detect") == [
        f"{name}/street.png" for name in ("exp", "exp2", "mine", "mine2")
    ]


def test_the_project_directory_can_be_chosen(edgedet, int8_file, picture, tmp_path):
    edgedet("detect", "--model", int8_file, "--source", picture, "--project", "all/mine")
    assert tree(tmp_path / "all") == ["mine/detect/exp/street.png"]


def test_equal_names_of_different_directories_do_not_meet(edgedet, int8_file, tmp_path, scene):
    for place in ("a/x.png", "b/x.png", "b/x.jpg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(scene(8, 8)).save(tmp_path / place)
    done = edgedet("detect", "--model", int8_file, "--source", "*/x.*", "--save-txt")
    assert done.code == 0
    assert tree(tmp_path / "runs/detect/exp") == [
        "labels/x.txt",
        "labels/x_2.txt",
        "labels/x_3.txt",
        "x.png",
        "x_2.jpg",
        "x_3.png",
    ]


def test_unreadable_pictures_are_skipped_named_and_reported(edgedet, int8_file, album, tmp_path):
    (album / "p3.png").write_bytes(b"")
    (album / "p4.png").write_bytes(b"no picture")
    done = edgedet("detect", "--model", int8_file, "--source", album, "--json")
    assert done.code == 2
    warnings = done.err.splitlines()
    assert warnings[0].startswith("warning: ")
    assert "p3.png is empty" in warnings[0]
    assert "p4.png is no picture" in warnings[1]
    assert warnings[2].startswith("error: 2 of 5 pictures could not be read")
    report = json.loads(done.out)
    assert [Path(one["path"]).name for one in report["failed"]] == ["p3.png", "p4.png"]
    assert len(report["images"]) == 3
    assert tree(tmp_path / "runs/detect/exp") == ["p10.png", "p11.png", "p2.jpg"]


def test_nothing_is_left_when_every_picture_is_bad(edgedet, int8_file, tmp_path):
    (tmp_path / "album").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "album" / name).write_bytes(b"no picture")
    done = edgedet("detect", "--model", int8_file, "--source", "album", "--save-json")
    assert done.code == 2
    assert "2 of 2 pictures" in done.err
    assert not (tmp_path / "runs").exists()


def bad_calls():
    """Options that replace the good ones, and what the one sentence says."""
    yield {"--source": "missing.png"}, "There is no picture missing.png"
    yield {"--source": "empty.png"}, "empty.png is empty"
    yield {"--source": "cut.png"}, "cut.png is damaged or truncated"
    yield {"--source": "text.png"}, "text.png is no picture"
    yield {"--source": "nothing"}, "There is no picture in the directory nothing"
    yield {"--source": "*.nef"}, "No file matches"
    yield {"--source": "clip.mp4"}, "clip.mp4 is no video that can be read"
    yield {"--source": "missing.mp4"}, "There is no video missing.mp4"
    yield {"--source": "file:///etc/passwd"}, "is no address that edgedet reads"
    yield {"--source": "http://127.0.0.1:9/a.png"}, "can't be reached"
    yield {"--source": "98"}, "There is no camera 98"
    yield {"--vid-stride": 0}, "vid_stride must be"
    yield {"--tile": 3}, "tile must be"
    yield {"--source": ""}, "The source is empty"
    yield {"--model": "missing.tflite"}, "There is no model file missing.tflite"
    yield {"--model": "garbage.tflite"}, "garbage.tflite carries no edgedet model spec"
    yield {"--model": "cut.tflite"}, "cut.tflite carries no edgedet model spec"
    yield {"--model": "street.png"}, "street.png is no model"
    yield {"--conf": 1.5}, "conf must be a number from 0 to 1"
    yield {"--iou": -1}, "iou must be a number from 0 to 1"
    yield {"--max-det": 0}, "max_det must be"
    yield {"--threads": 0}, "threads must be"
    yield {"--engine": "warp"}, "There is no engine 'warp'"
    yield {"--name": "../mine"}, "must be a plain name"
    yield {"--project": "street.png"}, "street.png"


@pytest.mark.parametrize(("options", "message"), list(bad_calls()))
def test_bad_input_gives_one_sentence_and_leaves_nothing(
    edgedet, int8_file, picture, tmp_path, monkeypatch, options, message
):
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "clip.mp4").write_bytes(b"frames")
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:120])
    (tmp_path / "garbage.tflite").write_bytes(b"garbage" * 100)
    (tmp_path / "cut.tflite").write_bytes(int8_file.read_bytes()[:3000])
    before = tree(tmp_path)
    words = {"--model": int8_file, "--source": "street.png", **options}
    done = edgedet("detect", *(word for pair in words.items() for word in pair))
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("error: ")
    assert message in done.err
    assert tree(tmp_path) == before
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_gives_one_sentence_and_leaves_nothing(
    edgedet, int8_file, picture, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    done = edgedet("detect", "--model", int8_file, "--source", picture)
    assert done.code == 2
    assert "the disk is full" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_predict_is_the_same_command(edgedet, int8_file, picture):
    assert edgedet("predict", "--model", int8_file, "--source", picture, "--no-save").code == 0


def test_the_log_of_the_engine_stays_out_of_the_output(int8_file, picture, tmp_path):
    """In a process of its own: LiteRT writes its line when the first model is loaded."""
    words = ["--model", str(int8_file), "--source", str(picture)]
    done = subprocess.run(
        [sys.executable, "-m", "edgedet", "detect", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
