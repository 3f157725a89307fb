"""`Detector.detect` on videos, cameras and streams."""

from __future__ import annotations

import io
import itertools
import sys
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.runtime import video
from edgedet.runtime.video import Frame, VideoInfo

pytest.importorskip("av")

from tests.runtime import video_files
from tests.runtime.network_camera import network_camera


@pytest.fixture
def clip(tmp_path, scene):
    """A video of nine frames, with a red, green or blue square in turn."""
    return video_files.write(tmp_path / "clip.mp4", video_files.frames(scene, 9))


@pytest.fixture
def cut(tmp_path, scene):
    """The first half of a video of 30 frames."""
    path = video_files.write(tmp_path / "whole.avi", video_files.frames(scene, 30))
    return video_files.cut(path)


def readers():
    return [one for one in threading.enumerate() if one.name.startswith("edgedet-")]


def labels(results):
    return [label for result in results for label in set(result.labels)]


def test_a_video_gives_a_list_of_its_frames(detector, clip):
    results = detector.detect(clip)
    assert labels(results) == ["red", "green", "blue"] * 3
    assert [result.frame for result in results] == list(range(9))
    assert [result.time for result in results] == pytest.approx([n / 10 for n in range(9)])
    assert {result.path for result in results} == {str(clip)}
    assert readers() == []


def test_the_frames_of_a_list_are_not_kept_and_those_of_a_stream_are(detector, clip):
    assert {result.image is None for result in detector.detect(clip)} == {True}
    for result in detector.detect(clip, stream=True):
        assert result.plot().shape == (96, 128, 3)
    with pytest.raises(InvalidInputError, match="no picture to draw on"):
        detector.detect(clip)[0].plot()


def test_a_stream_gives_what_single_arrays_give(detector, clip):
    for result in detector.detect(clip, stream=True):
        alone = detector.detect(result.image)
        np.testing.assert_array_equal(alone.xyxy, result.xyxy)
        np.testing.assert_array_equal(alone.confidence, result.confidence)


def test_a_stride_uses_every_so_many_frames(detector, clip):
    results = detector.detect(clip, vid_stride=4)
    assert [result.frame for result in results] == [0, 4, 8]


def test_videos_and_pictures_can_be_mixed(detector, clip, tmp_path, scene):
    Image.fromarray(scene(64, 64, [("blue", 8, 8, 8)])).save(tmp_path / "a.png")
    expected = [None, *range(9)]
    for source in (
        [tmp_path / "a.png", clip],
        [str(tmp_path / "a.png"), scene(8, 8), str(clip)],
        f"{tmp_path}/*",
    ):
        found = [result.frame for result in detector.detect(source)]
        assert [frame for frame in found if frame is not None] == expected[1:]
        assert None in found


def test_a_stream_that_is_closed_stops_its_thread_and_lets_the_video_go(detector, clip):
    results = detector.detect(clip, stream=True)
    assert readers() == []
    assert next(results).frame == 0
    assert len(readers()) == 1
    results.close()
    assert readers() == []
    with pytest.raises(StopIteration):
        next(results)


def test_a_stream_that_is_dropped_stops_its_thread_as_well(detector, clip):
    for result in detector.detect(clip, stream=True):
        if result.frame == 2:
            break
    assert readers() == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_video_that_breaks_off_gives_its_frames_and_one_warning(detector, cut, stream):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = list(detector.detect(cut, stream=stream))
    assert 5 <= len(results) <= 20
    (warning,) = caught
    assert f"{cut} gives no more than {len(results)} of 30 frames" in str(warning.message)
    if stream:
        assert warning.filename == __file__


def test_a_video_that_breaks_off_is_told_to_who_takes_errors(detector, clip, cut):
    errors = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = detector.detect([cut, clip], on_error=lambda *error: errors.append(error))
    assert len(results) > 9
    ((name, error),) = errors
    assert name == str(cut)
    assert "damaged or truncated" in str(error)


def test_a_bad_video_among_many_is_passed_over(detector, clip, tmp_path):
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(10_000))
    names = [tmp_path / "noise.avi", tmp_path / "missing.mkv", clip]
    errors = []
    results = detector.detect(names, on_error=lambda *error: errors.append(error))
    assert len(results) == 9
    assert [name for name, _ in errors] == [str(name) for name in names[:2]]
    with pytest.raises(InvalidInputError, match=r"noise\.avi is no video"):
        detector.detect(names)
    with pytest.raises(MissingFileError, match="There is no video"):
        detector.detect(names[1:])


def test_a_video_on_standard_input_is_read(detector, clip, monkeypatch):
    class Standard:
        buffer = io.BytesIO(clip.read_bytes())

        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", Standard())
    results = detector.detect("-")
    assert labels(results) == ["red", "green", "blue"] * 3
    assert results[0].path == "standard input"


class Camera:
    """A camera that never stops; `opened` once it is in use."""

    def __init__(self, images, count=None):
        self.info = VideoInfo("camera 0", 30.0, None, live=True)
        self.damage = None
        self.opened = False
        self.through = threading.Event()
        self.go_on = threading.Event()
        self.closed = threading.Event()
        self._images, self._count = images, count

    def frames(self, stride):
        for number in itertools.count() if self._count is None else range(self._count):
            yield Frame(number, number / 30, self._images[number % len(self._images)])
            # Only the first frame waits for its reader.
            self.go_on.wait(5)
        self.through.set()

    def close(self):
        self.closed.set()


@pytest.fixture
def camera(monkeypatch, tmp_path, scene):
    """Puts a camera of so many frames into place 0."""
    (tmp_path / "video0").touch()
    monkeypatch.setattr(video, "camera_device", lambda number: tmp_path / f"video{number}")

    def connect(count=None):
        made = Camera(video_files.frames(scene, 3), count)

        def open_it(_):
            made.opened = True
            return made

        monkeypatch.setattr(video, "open_video", open_it)
        return made

    return connect


@pytest.mark.parametrize("source", [0, "0", np.int64(0), [0], "rtsp://127.0.0.1:9/live"])
def test_what_may_never_end_needs_a_stream(detector, camera, monkeypatch, tmp_path, source):
    monkeypatch.chdir(tmp_path)
    made = camera()
    with pytest.raises(InvalidInputError, match="may never end; pass stream=True"):
        detector.detect(source)
    assert not made.opened


def test_a_camera_shows_the_newest_frame(detector, camera):
    made = camera(count=100)
    results = detector.detect(0, stream=True)
    assert next(results).frame == 0
    made.go_on.set()
    assert made.through.wait(5)
    rest = [result.frame for result in results]
    assert rest[-1] == 99
    assert len(rest) <= 3
    assert made.closed.is_set()


def test_with_a_buffer_every_frame_is_used(detector, camera):
    camera(count=30).go_on.set()
    results = detector.detect(0, stream=True, stream_buffer=True)
    assert [result.frame for result in results] == list(range(30))


def test_a_camera_is_let_go_when_the_stream_is_closed(detector, camera):
    made = camera()
    made.go_on.set()
    results = detector.detect("0", stream=True)
    assert next(results).path == "camera 0"
    assert next(results).frame >= 0
    results.close()
    assert made.closed.is_set()
    assert readers() == []


def test_a_camera_in_the_network_is_an_endless_video(detector, scene, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with network_camera(video_files.frames(scene, 3)) as address:
        with pytest.raises(InvalidInputError, match="may never end"):
            detector.detect(address)
        results = detector.detect(address, stream=True)
        seen = list(itertools.islice(results, 5))
        results.close()
    assert {len(set(result.labels)) for result in seen} == {1}
    assert {result.path for result in seen} == {address}
    assert [result.frame for result in seen] == sorted({result.frame for result in seen})
    assert readers() == []
