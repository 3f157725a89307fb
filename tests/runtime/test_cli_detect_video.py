from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from edgedet.runtime.video import VideoPlace, open_video

pytest.importorskip("av")

from tests.runtime import video_files
from tests.runtime.network_camera import network_camera


@pytest.fixture
def clip(tmp_path, scene):
    """A video of nine frames, with a red, green or blue square in turn."""
    return video_files.write(tmp_path / "clip.mp4", video_files.frames(scene, 9))


def tree(directory):
    """Every file below, relative."""
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def frames(path):
    reader = open_video(VideoPlace.file(path))
    try:
        return list(reader.frames(1))
    finally:
        reader.close()


def test_a_video_becomes_an_annotated_video(edgedet, int8_file, clip, tmp_path):
    done = edgedet("detect", "--model", int8_file, "--source", "clip.mp4")
    assert done.code == 0
    assert done.err == ""
    assert re.search(r"clip\.mp4 +│ +9 │ +\d+ │ (\w+ x\d+, ){2}\w+ x\d+", done.out)
    assert "objects in 9 frames of 1 video; preprocess" in done.out
    assert "images a second, with reading, drawing and writing" in done.out
    assert done.out.splitlines()[-1] == f"next: edgedet benchmark {int8_file}"
    assert tree(tmp_path / "runs") == ["detect/exp/clip.mp4"]
    before, after = frames(clip), frames(tmp_path / "runs/detect/exp/clip.mp4")
    assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before])
    for plain, drawn in zip(before, after, strict=True):
        assert np.abs(plain.image.astype(int) - drawn.image).max() > 60


@pytest.mark.parametrize(
    ("suffix", "written"), [(".avi", ".avi"), (".mkv", ".mkv"), (".ts", ".mp4")]
)
def test_the_format_is_kept_where_it_can_be_written(
    edgedet, int8_file, tmp_path, scene, suffix, written
):
    clip = video_files.write(tmp_path / f"clip{suffix}", video_files.frames(scene, 3))
    assert edgedet("detect", "--model", int8_file, "--source", clip).code == 0
    assert tree(tmp_path / "runs/detect/exp") == [f"clip{written}"]
    assert len(frames(tmp_path / f"runs/detect/exp/clip{written}")) == 3


def test_json_and_text_have_an_entry_for_each_frame(edgedet, int8_file, clip, tmp_path):
    done = edgedet(
        *("detect", "--model", int8_file, "--source", clip, "--vid-stride", 3),
        *("--json", "--save-json", "--save-txt", "--no-save"),
    )
    report = json.loads(done.out)
    assert done.code == 0
    assert [image["frame"] for image in report["images"]] == [0, 3, 6]
    assert [image["time"] for image in report["images"]] == pytest.approx([0.0, 0.3, 0.6])
    assert {entry["label"] for image in report["images"] for entry in image["detections"]} == {
        "red"
    }
    run = tmp_path / "runs/detect/exp"
    assert tree(run) == ["detections.json", *(f"labels/clip_{n}.txt" for n in (0, 3, 6))]
    assert json.loads((run / "detections.json").read_text()) == report["images"]


def test_a_stride_gives_a_video_of_the_same_length(edgedet, int8_file, clip, tmp_path):
    edgedet("detect", "--model", int8_file, "--source", clip, "--vid-stride", 3)
    written = tmp_path / "runs/detect/exp/clip.mp4"
    assert [frame.time for frame in frames(written)] == pytest.approx([0.0, 0.3, 0.6], abs=0.01)
    reader = open_video(VideoPlace.file(written))
    assert reader.info.rate == pytest.approx(10 / 3, abs=0.01)
    reader.close()


def test_a_video_cut_in_half_is_finished_and_reported(edgedet, int8_file, tmp_path, scene):
    whole = video_files.write(tmp_path / "whole.avi", video_files.frames(scene, 30))
    cut = video_files.cut(whole)
    done = edgedet("detect", "--model", int8_file, "--source", cut, "--json")
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert re.search(r"^error: .*cut\.avi gives no more than \d+ of 30 frames", line)
    report = json.loads(done.out)
    assert 5 <= len(report["images"]) <= 20
    assert [entry["path"] for entry in report["failed"]] == [str(cut)]
    assert len(frames(tmp_path / "runs/detect/exp/cut.avi")) == len(report["images"])


def test_videos_and_pictures_of_a_pattern_are_told_apart(edgedet, int8_file, clip, tmp_path, scene):
    Image.fromarray(scene(64, 64, [("red", 8, 8, 8)])).save(tmp_path / "clip.png")
    (tmp_path / "clip2.mkv").write_bytes(b"no video")
    done = edgedet("detect", "--model", int8_file, "--source", "clip*")
    assert done.code == 2
    assert "warning: clip2.mkv is no video that can be read" in done.err
    assert "error: 1 of 3 files could not be read; the warnings above name them." in done.err
    assert "objects in 1 picture and 9 frames of 1 video" in done.out
    assert tree(tmp_path / "runs/detect/exp") == ["clip.mp4", "clip_2.png"]


@pytest.mark.parametrize("kind", ["picture", "video"])
def test_standard_input_is_read(edgedet, int8_file, clip, tmp_path, scene, monkeypatch, kind):
    data = io.BytesIO(clip.read_bytes())
    if kind == "picture":
        data = io.BytesIO()
        Image.fromarray(scene(64, 64, [("red", 8, 8, 8)])).save(data, "PNG")
        data.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    done = edgedet("detect", "--model", int8_file, "--source", "-")
    assert done.code == 0
    assert tree(tmp_path / "runs/detect/exp") == [
        {"picture": "stdin.png", "video": "stdin.mp4"}[kind]
    ]


def test_a_full_disk_gives_one_sentence_and_no_half_video(
    edgedet, int8_file, clip, tmp_path, monkeypatch
):
    from edgedet.runtime.video.pyav import PyAvWriter

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PyAvWriter, "write", fail)
    done = edgedet("detect", "--model", int8_file, "--source", clip)
    assert done.code == 2
    assert "the disk is full" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_an_interrupted_stream_leaves_a_whole_video(int8_file, tmp_path, scene):
    """In a process of its own, interrupted once it writes."""
    with network_camera(video_files.frames(scene, 3)) as address:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "edgedet", "detect", "--model", str(int8_file)),
                *("--source", address, "--json", "--save-json"),
            ],
            cwd=tmp_path,
            env={**os.environ, "no_proxy": "*"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # What a shell starts in the background ignores interrupts, and so would this process.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        run = tmp_path / "runs/detect/exp"
        while process.poll() is None and not list(run.glob(".video.*")):
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    report = json.loads(out)
    assert tree(run) == ["detections.json", "video.mp4"]
    assert json.loads((run / "detections.json").read_text()) == report["images"]
    assert len(report["images"]) >= 1
    assert len(frames(run / "video.mp4")) == len(report["images"])
