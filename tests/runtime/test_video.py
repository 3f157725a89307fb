"""Videos: reading whole and broken ones, and writing them, with PyAV and with OpenCV."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest

from edgedet.errors import EdgeDetError, InvalidInputError, MissingDependencyError, MissingFileError
from edgedet.runtime import video
from edgedet.runtime.video import VideoPlace, create_video, open_video, written_suffix

pytest.importorskip("av")

from tests.runtime import video_files

PACKAGES = {"av": "pyav", "cv2": "opencv"}


@pytest.fixture(params=list(PACKAGES))
def package(request, monkeypatch):
    """One of the two packages that read videos, as if the other were not installed."""
    pytest.importorskip(request.param)
    name = PACKAGES[request.param]
    monkeypatch.setattr(video, "_PACKAGES", {request.param: name})
    return name


def read(place, stride=1):
    """(info, frames, damage) of a video."""
    reader = open_video(place)
    try:
        return reader.info, list(reader.frames(stride)), reader.damage
    finally:
        reader.close()


def colours(frames):
    """The colour of the square in each frame."""
    return [video_files.COLOURS[frame.image[48, 48].argmax()] for frame in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov", ".webm", ".ts"])
def test_every_frame_comes_with_its_number_and_time(package, tmp_path, scene, suffix):
    path = video_files.write(tmp_path / f"clip{suffix}", video_files.frames(scene, 12))
    info, frames, damage = read(VideoPlace.file(path))
    assert (info.name, info.rate, info.live) == (str(path), 10, False)
    # A transport stream states nothing, and a reader's guess may be off.
    assert suffix == ".ts" or info.frames == 12
    assert damage is None
    assert [frame.number for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == pytest.approx([n / 10 for n in range(12)], abs=0.002)
    assert colours(frames) == ["red", "green", "blue"] * 4
    image = frames[0].image
    assert (image.dtype, image.shape, image.flags.c_contiguous) == (np.uint8, (96, 128, 3), True)
    assert np.abs(image[48, 48].astype(int) - (255, 0, 0)).max() < 40


def test_a_stride_passes_frames_over(package, tmp_path, scene):
    path = video_files.write(tmp_path / "clip.mp4", video_files.frames(scene, 12))
    _, frames, damage = read(VideoPlace.file(path), stride=5)
    assert [frame.number for frame in frames] == [0, 5, 10]
    assert colours(frames) == ["red", "blue", "green"]
    assert damage is None


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_a_video_cut_in_half_gives_its_first_half_and_one_sentence(
    package, tmp_path, scene, suffix
):
    images = video_files.frames(scene, 40)
    # Clusters of Matroska are written whole; smaller ones can be cut between.
    options = {"cluster_time_limit": "500"} if suffix in (".mkv", ".webm") else None
    path = video_files.write(tmp_path / f"clip{suffix}", images, options=options)
    info, frames, damage = read(VideoPlace.file(video_files.cut(path)))
    assert 10 <= len(frames) <= 30
    # OpenCV shows what it has of the last one.
    assert colours(frames[:-1]) == (["red", "green", "blue"] * 40)[: len(frames) - 1]
    # OpenCV knows of no stated length but that of the container.
    if package == "pyav" or info.frames == 40:
        assert damage is not None
        assert (
            f"gives no more than {len(frames)} of 40 frames: it is damaged or truncated" in damage
        )
        assert "\n" not in damage


def test_no_frame_before_the_cut_is_lost(tmp_path, scene, monkeypatch):
    """The packet that is cut through would take those with it that decode beside it."""
    import av

    monkeypatch.setattr("edgedet.runtime.video.pyav.default_threads", lambda: 4)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(40)]
    path = video_files.cut(video_files.write(tmp_path / "clip.mp4", images, gop=12))
    with av.open(str(path)) as container:
        whole = sum(
            1 for packet in container.demux(video=0) if packet.size and not packet.is_corrupt
        )
    assert 10 <= whole <= 30
    assert len(read(VideoPlace.file(path))[1]) == whole


def test_a_damaged_middle_is_told_and_the_rest_is_read(tmp_path, scene):
    path = video_files.write(tmp_path / "clip.avi", video_files.frames(scene, 30))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = np.random.default_rng(0).bytes(200)
    path.write_bytes(data)
    _, frames, damage = read(VideoPlace.file(path))
    assert len(frames) >= 20
    assert damage is not None
    assert "is damaged" in damage


def bad_files(good):
    rng = np.random.default_rng(0)
    yield "noise.mp4", rng.bytes(100_000)
    yield "noise.avi", rng.bytes(100_000)
    yield "text.mkv", b"no video at all\n" * 100
    yield "head.mp4", good.read_bytes()[:200]
    # A playlist would have other files opened, and other hosts asked.
    yield "list.mp4", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    yield "join.avi", b"ffconcat version 1.0\nfile good.mp4\n"


@pytest.mark.parametrize("number", range(6))
def test_what_is_no_video_is_refused_in_one_sentence(package, tmp_path, scene, number, capfd):
    good = video_files.write(tmp_path / "good.mp4", video_files.frames(scene, 3))
    name, data = list(bad_files(good))[number]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidInputError, match=rf"{name} is no video that can be read") as refusal:
        read(VideoPlace.file(tmp_path / name))
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr().err == ""


def test_sound_alone_is_refused(tmp_path):
    import wave

    with wave.open(str(tmp_path / "sound.avi"), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(8000))
    with pytest.raises(InvalidInputError, match="is no video that can be read"):
        open_video(VideoPlace.file(tmp_path / "sound.avi"))


def test_places_without_a_video_are_refused(tmp_path):
    import os

    (tmp_path / "empty.mp4").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MissingFileError, match="There is no video"):
        VideoPlace.file(tmp_path / "missing.mp4")
    with pytest.raises(InvalidInputError, match=r"empty\.mp4 is empty"):
        VideoPlace.file(tmp_path / "empty.mp4")
    with pytest.raises(InvalidInputError, match="no regular file"):
        VideoPlace.file(tmp_path / "pipe.mp4")
    with pytest.raises(InvalidInputError, match=r"There is no camera 99 \(/dev/video99 is missing"):
        VideoPlace.camera(99)


def test_frames_beyond_the_limit_of_pictures_are_refused(package, tmp_path, scene, monkeypatch):
    path = video_files.write(tmp_path / "clip.mp4", video_files.frames(scene, 3))
    monkeypatch.setattr(video, "MAX_PIXELS", 96 * 128 - 1)
    with pytest.raises(InvalidInputError, match="has frames of 128x96, more than"):
        open_video(VideoPlace.file(path))


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        # What phones write beside a picture that lies on its side (ISO 14496-12, tkhd).
        ((0, 1, -1, 0), (slice(0, 32), slice(-32, None))),
        ((0, -1, 1, 0), (slice(-32, None), slice(0, 32))),
        ((-1, 0, 0, -1), (slice(-32, None), slice(-32, None))),
    ],
)
def test_videos_are_turned_upright(package, tmp_path, scene, matrix, corner):
    image = scene(96, 128, [("red", 0, 0, 32)])
    path = video_files.write(tmp_path / "clip.mov", [image] * 3)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (value * 65536 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    _, frames, _ = read(VideoPlace.file(path))
    upright = frames[0].image
    assert upright.shape == ((96, 128, 3) if matrix[0] else (128, 96, 3))
    assert upright[corner][..., 0].mean() > 200


class Pipe:
    """Gives a file from front to back, a little at a time."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def read(self, size):
        return self._data.read(min(size, 1000))


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4", ".avi"])
def test_a_pipe_is_read_from_front_to_back(tmp_path, scene, suffix):
    path = video_files.write(tmp_path / f"clip{suffix}", video_files.frames(scene, 6))
    info, frames, damage = read(VideoPlace.pipe("standard input", Pipe(path.read_bytes())))
    assert (info.name, len(frames), damage) == ("standard input", 6, None)


def test_a_pipe_needs_pyav(monkeypatch):
    pytest.importorskip("cv2")
    monkeypatch.setattr(video, "_PACKAGES", {"cv2": "opencv"})
    with pytest.raises(InvalidInputError, match="install PyAV"):
        open_video(VideoPlace.pipe("standard input", Pipe(b"")))


def test_without_a_package_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"frames")
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r'pip install "edgedet\[video\]"'):
        open_video(VideoPlace.file(tmp_path / "clip.mp4"))


def test_pyav_is_asked_first_and_opencv_otherwise(tmp_path, scene, monkeypatch):
    pytest.importorskip("cv2")
    path = video_files.write(tmp_path / "clip.mp4", video_files.frames(scene, 3))
    assert type(open_video(VideoPlace.file(path))).__name__ == "PyAvReader"
    monkeypatch.setitem(sys.modules, "av", None)
    assert type(open_video(VideoPlace.file(path))).__name__ == "OpenCvReader"


@pytest.mark.parametrize(
    "address", ["rtsp://127.0.0.1:{port}/live", "http://127.0.0.1:{port}/a.mp4"]
)
def test_an_address_that_never_answers_is_given_up(monkeypatch, silent_port, address):
    monkeypatch.setattr(video, "PATIENCE", 0.3)
    with pytest.raises(InvalidInputError, match=r"127\.0\.0\.1") as refusal:
        open_video(VideoPlace.address(address.format(port=silent_port)))
    assert "\n" not in str(refusal.value)


def test_passwords_stay_out_of_messages(monkeypatch, silent_port):
    monkeypatch.setattr(video, "PATIENCE", 0.3)
    place = VideoPlace.address(f"rtsp://me:secret@127.0.0.1:{silent_port}/live")
    assert place.live
    with pytest.raises(InvalidInputError) as refusal:
        open_video(place)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_what_is_written_can_be_read(package, tmp_path, scene, suffix):
    path = tmp_path / f"out{suffix}"
    writer = create_video(path, suffix, 10.0, (96, 128))
    for number, image in enumerate(video_files.frames(scene, 9)):
        writer.write(image, number / 10)
    writer.close()
    info, frames, damage = read(VideoPlace.file(path))
    assert (info.rate, damage) == (10, None)
    assert colours(frames) == ["red", "green", "blue"] * 3
    assert frames[-1].time == pytest.approx(0.8, abs=0.01)


def test_odd_sizes_and_other_sizes_are_written(package, tmp_path, scene):
    writer = create_video(tmp_path / "out.mp4", ".mp4", 10.0, (95, 127))
    for image in (scene(95, 127), scene(200, 300), scene(95, 127)):
        writer.write(image, None)
    writer.close()
    _, frames, _ = read(VideoPlace.file(tmp_path / "out.mp4"))
    assert len(frames) == 3
    assert {abs(frame.image.shape[0] - 95) <= 1 for frame in frames} == {True}


def test_odd_sizes_are_widened_not_stretched(tmp_path):
    stripes = np.zeros((95, 127, 3), np.uint8)
    stripes[:, ::2] = 255
    writer = create_video(tmp_path / "out.mp4", ".mp4", 10.0, (95, 127))
    writer.write(stripes, None)
    writer.close()
    _, frames, _ = read(VideoPlace.file(tmp_path / "out.mp4"))
    written = frames[0].image[:95, :127]
    assert np.abs(written.astype(int) - stripes).mean() < 20


def test_gaps_between_frames_are_kept(tmp_path, scene):
    """A live source drops frames; the others keep their time."""
    writer = create_video(tmp_path / "out.mp4", ".mp4", 10.0, (96, 128))
    for time in (0.0, 0.1, 0.5, 0.5, 1.0):
        writer.write(scene(96, 128), time)
    writer.close()
    _, frames, _ = read(VideoPlace.file(tmp_path / "out.mp4"))
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.1, 0.5, 0.6, 1.0], abs=0.01)


def test_other_suffixes_become_mp4(package):
    assert [written_suffix(suffix) for suffix in (".mp4", ".avi", ".webm", "")] == [
        ".mp4",
        ".avi",
        ".mp4",
        ".mp4",
    ]


def test_a_place_that_cannot_be_written_is_an_error(package, tmp_path):
    with pytest.raises((EdgeDetError, OSError)):
        create_video(tmp_path / "missing" / "out.mp4", ".mp4", 10.0, (96, 128))


def test_the_package_is_loaded_by_the_first_video_only():
    import subprocess

    code = (
        "import sys, edgedet.runtime.detector, edgedet.cli.detect\n"
        "print(*sorted({'av', 'cv2', 'urllib.request'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
