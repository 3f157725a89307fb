from __future__ import annotations

import io
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from edgedet import Detections, Detector
from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.runtime import reading, signatures
from edgedet.runtime.reading import Reading, SourceImage, Unreadable
from edgedet.runtime.sources import (
    Address,
    Camera,
    StandardInput,
    find_images,
    is_single,
    read_source,
    resolve,
)

RED_AT_8 = [("red", 8, 8, 8)]


@pytest.fixture
def album(tmp_path, scene):
    """A directory with three pictures, one of them in a directory below, and other files."""
    for name in ("shot10.png", "shot2.png", "sub/shot1.png", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(scene(64, 64, RED_AT_8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def names(paths):
    return [Path(path).name for path in paths]


def test_a_directory_gives_its_pictures_in_natural_order(album):
    assert names(find_images(album)) == ["shot2.png", "shot10.png"]
    assert not is_single(album)


def test_a_pattern_gives_its_matches_in_natural_order(album):
    assert names(find_images(f"{album}/*.png")) == ["shot2.png", "shot10.png"]
    assert names(find_images(f"{album}/**/shot*.png")) == ["shot2.png", "shot10.png", "shot1.png"]
    assert not is_single(f"{album}/*.png")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(album, scene):
    odd = album / "shot[1].png"
    Image.fromarray(scene(8, 8)).save(odd)
    assert find_images(odd) == [odd]
    assert is_single(odd)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("missing.jpg", MissingFileError, "There is no picture"),
        ("missing.mp4", MissingFileError, "There is no video"),
        ("*.jpg", MissingFileError, "No file matches"),
        ("empty", MissingFileError, "no picture in the directory"),
        ("clip.mp4", InvalidInputError, "is a video; extract its frames"),
        ("n" * 300 + ".png", MissingFileError, "There is no picture"),
        ("nul\0.png", MissingFileError, "There is no picture"),
    ],
)
def test_paths_without_pictures_are_refused(tmp_path, name, kind, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "clip.mp4").write_bytes(b"frames")
    with pytest.raises(kind, match=message):
        find_images(tmp_path / name)


@pytest.mark.parametrize("source", ["https://example.org/cat.jpg", "rtsp://camera/live", "0", "-"])
def test_what_is_no_file_has_no_name(source):
    with pytest.raises(InvalidInputError, match=f"^{source} is no file; name a picture"):
        find_images(source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.org/cat.jpg", Address("https://example.org/cat.jpg")),
        ("rtsp://camera/live", Address("rtsp://camera/live")),
        ("0", Camera(0)),
        ("12", Camera(12)),
        ("-", StandardInput()),
    ],
)
def test_texts_that_name_no_file_are_known_by_their_form(tmp_path, monkeypatch, text, expected):
    monkeypatch.chdir(tmp_path)
    assert resolve(text) == expected
    assert is_single(text)


def test_a_file_is_preferred_to_a_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").touch()
    assert list(resolve("0")) == ["0"]
    assert isinstance(resolve("1"), Camera)


class TestDetect:
    """What `Detector.detect` returns for each kind of source."""

    def test_one_image_gives_one_result(self, detector, album, scene):
        array = scene(64, 64, RED_AT_8)
        for source in (
            album / "shot2.png",
            str(album / "shot2.png"),
            array,
            Image.fromarray(array),
            Image.open(album / "shot2.png"),
            (album / "shot2.png").read_bytes(),
            bytearray((album / "shot2.png").read_bytes()),
            memoryview((album / "shot2.png").read_bytes()),
        ):
            result = detector.detect(source)
            assert isinstance(result, Detections)
            assert result.labels == ["red"]

    def test_only_files_give_a_path(self, detector, album, scene):
        assert detector.detect(album / "shot2.png").path == str(album / "shot2.png")
        assert detector.detect(scene(8, 8)).path is None

    def test_only_images_from_memory_are_kept(self, detector, album, scene):
        array = scene(64, 64)
        assert detector.detect(array).image is array
        assert detector.detect(album / "shot2.png").image is None

    def test_encoded_pictures_are_kept_as_well(self, detector, album):
        result = detector.detect((album / "shot2.png").read_bytes())
        assert result.path is None
        assert result.image.shape == (64, 64, 3)
        assert (result.plot() != result.image).any()

    def test_many_images_give_a_list_in_their_order(self, detector, album, scene):
        blue = scene(64, 64, [("blue", 16, 16, 8)])
        red = album / "shot2.png"
        for source in ([blue, red], (blue, red), (one for one in (blue, red)), [[blue], [red]]):
            results = detector.detect(source)
            assert isinstance(results, list)
            assert [result.labels for result in results] == [["blue"], ["red"]]
        assert detector.detect([]) == []

    def test_directories_and_patterns_give_a_list(self, detector, album):
        expected = ["shot2.png", "shot10.png"]
        assert names(one.path for one in detector.detect(album)) == expected
        assert names(one.path for one in detector.detect(f"{album}/shot*")) == expected
        assert names(one.path for one in detector.detect([album, album])) == expected * 2

    def test_stream_reads_only_what_is_asked_for(self, detector, scene):
        read = []

        def frames():
            for number in range(100):
                read.append(number)
                yield scene(64, 64, [("red", 8, 8, 8)])

        results = detector.detect(frames(), stream=True)
        assert read == []
        assert next(results).labels == ["red"]
        assert next(results).labels == ["red"]
        assert read == [0, 1]

    def test_stream_gives_one_image_as_well(self, detector, scene):
        assert [len(one) for one in detector.detect(scene(8, 8), stream=True)] == [0]

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_bad_picture_among_many_is_named(self, detector, album, stream):
        (album / "shot3.png").write_bytes(b"no picture")
        with pytest.raises(InvalidInputError, match=r"shot3\.png"):
            list(detector.detect(album, stream=stream))

    @pytest.mark.parametrize("stream", [False, True])
    def test_the_others_follow_when_errors_are_taken(self, detector, album, scene, stream):
        (album / "shot3.png").write_bytes(b"no picture")
        array = scene(64, 64)
        missing = str(album / "missing.png")
        bad = album / "shot3.png"
        for source, expected, expected_errors in (
            (album, ["shot2.png", "shot10.png"], ["shot3.png"]),
            ([missing, bad, album / "shot2.png"], ["shot2.png"], ["missing.png", "shot3.png"]),
            (
                [array, missing, str(bad), array, b"-"],
                ["-", "-"],
                ["missing.png", "shot3.png", None],
            ),
        ):
            errors = []
            results = list(
                detector.detect(
                    source, stream=stream, on_error=lambda *error, to=errors: to.append(error)
                )
            )
            assert [Path(one.path or "-").name for one in results] == expected
            names_of_errors = [name and Path(name).name for name, _ in errors]
            assert names_of_errors == expected_errors
            assert all(name in str(error) for name, error in errors if name is not None)

    @pytest.mark.parametrize("stream", [False, True])
    def test_the_error_of_the_only_picture_is_raised(self, detector, album, stream):
        (album / "bad.png").write_bytes(b"no picture")
        for source in (album / "missing.png", album / "bad.png", b"no picture"):
            with pytest.raises((MissingFileError, InvalidInputError)):
                list(detector.detect(source, stream=stream, on_error=lambda *_: None))

    def test_pictures_are_prepared_ahead_to_the_same_result(self, detector, album):
        (one,) = [one for one in detector.detect(album, stream=True) if "10" in one.path]
        assert one == detector.detect(album / "shot10.png")
        assert one.image is None
        assert all(value > 0 for value in one.speed.values())

    def test_the_time_of_preparing_counts(self, int8_file, album, monkeypatch):
        slow = Detector(int8_file, threads=1)
        plain = slow.prepare
        monkeypatch.setattr(slow, "prepare", lambda image: (time.sleep(0.05), plain(image))[1])
        assert all(one.speed["preprocess"] > 50 for one in slow.detect(album))


def kinds_of_picture():
    """Names and PIL pictures of every common kind, a red square on grey at 16..32 in each."""
    rgb = np.full((64, 64, 3), 128, np.uint8)
    rgb[16:32, 16:32] = (255, 0, 0)
    picture = Image.fromarray(rgb)
    yield "rgb.png", picture, {}
    yield "rgb.jpg", picture, {"quality": 95, "subsampling": 0}
    yield "palette.png", picture.quantize(8), {}
    yield "palette.gif", picture.quantize(8), {}
    yield "rgba.png", picture.convert("RGBA"), {}
    yield "cmyk.jpg", picture.convert("CMYK"), {"quality": 95, "subsampling": 0}
    yield "cmyk.tif", picture.convert("CMYK"), {}
    yield "rgb.webp", picture, {"lossless": True}
    yield "rgb.bmp", picture, {}
    # The file holds the picture lying on its side, and says so.
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "rotated.png", picture.transpose(Image.Transpose.ROTATE_90), {"exif": exif}


@pytest.mark.parametrize(
    ("name", "picture", "options"),
    [pytest.param(*kind, id=kind[0]) for kind in kinds_of_picture()],
)
def test_every_kind_of_colour_picture_is_handled(detector, tmp_path, name, picture, options):
    picture.save(tmp_path / name, **options)
    opened = Image.open(tmp_path / name)
    for source in (tmp_path / name, opened):
        result = detector.detect(source)
        assert "red" in result.labels
        best = result.xyxy[result.labels.index("red")]
        assert (best[:2] > 15).all()
        assert (best[2:] < 33).all()


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16", "I"])
def test_every_kind_of_grey_picture_is_handled(detector, tmp_path, mode):
    if mode.startswith("I"):
        picture = Image.fromarray(np.full((40, 50), 40000, np.uint16 if ";" in mode else np.int32))
    else:
        picture = Image.new(mode, (50, 40), 1)
    picture.save(tmp_path / "grey.tif")
    for source in (tmp_path / "grey.tif", picture):
        assert detector.detect(source).orig_shape == (40, 50)


def bad_pictures():
    whole = Path(__file__).parent / "data"
    yield "empty.png", b"", "is empty"
    yield "garbage.jpg", bytes(range(256)) * 8, "is no picture"
    yield "model.png", (whole / "blocks-int8.tflite").read_bytes(), "is no picture"
    yield "text.png", b"hello", "is no picture"


@pytest.mark.parametrize(("name", "data", "message"), list(bad_pictures()))
def test_files_that_are_no_pictures_are_refused(detector, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidInputError, match=rf"{name} {message}") as refusal:
        detector.detect(tmp_path / name)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_truncated_pictures_are_refused(detector, tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidInputError, match=rf"cut\.{suffix}"):
        detector.detect(path)


def test_a_pil_image_without_pixels_is_refused(detector):
    with pytest.raises(InvalidInputError, match="no pixels"):
        detector.detect(Image.new("RGB", (0, 5)))


class TestStandardInput:
    """`-`: what is piped to the program."""

    @staticmethod
    def pipe(monkeypatch, data, terminal=False):
        class Standard:
            buffer = io.BytesIO(data)

            def isatty(self):
                return terminal

        monkeypatch.setattr(sys, "stdin", Standard())

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
    def test_a_picture_is_known_by_its_first_bytes(self, detector, monkeypatch, scene, kind):
        data = io.BytesIO()
        Image.fromarray(scene(64, 64, RED_AT_8)).save(data, kind)
        self.pipe(monkeypatch, data.getvalue())
        result = detector.detect("-")
        assert result.labels == ["red"]
        assert result.path == "standard input"
        assert result.plot().shape == (64, 64, 3)

    @pytest.mark.parametrize(
        ("data", "terminal", "message"),
        [
            (b"", False, "^Standard input is empty"),
            (b"", True, "^Nothing is piped to standard input"),
            (b"\x89PNG\r\n\x1a\n" + bytes(50), False, "^The picture on standard input"),
            (b"hello " * 100, False, "^standard input is no video that can be read"),
        ],
    )
    def test_other_input_is_refused(self, detector, monkeypatch, data, terminal, message):
        pytest.importorskip("av")
        self.pipe(monkeypatch, data, terminal)
        with pytest.raises(InvalidInputError, match=message):
            detector.detect("-")

    def test_an_endless_picture_ends_at_the_limit(self, detector, monkeypatch):
        class Endless:
            taken = 0

            def read(self, size):
                Endless.taken += size
                return b"P6 " + bytes(size - 3)

        class Standard:
            buffer = Endless()

            def isatty(self):
                return False

        monkeypatch.setattr(sys, "stdin", Standard())
        monkeypatch.setattr(signatures, "MOST_BYTES", 3 * 2**20)
        with pytest.raises(InvalidInputError, match="is larger than 3 MiB"):
            detector.detect("-")
        assert Endless.taken < 5 * 2**20


def bomb(width, height):
    """A small PNG of many equal pixels."""
    row = b"\0" + bytes((width + 7) // 8)
    pack = zlib.compressobj(9)
    rows = b"".join([*(pack.compress(row) for _ in range(height)), pack.flush()])

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


class TestBombs:
    """A few kilobytes that unpack to gigabytes."""

    @pytest.fixture
    def data(self):
        data = bomb(20_000, 10_000)
        assert len(data) < 100_000
        return data

    @pytest.mark.parametrize("kind", ["bytes", "path", "directory", "pil", "stdin"])
    def test_it_is_refused_before_it_is_unpacked(self, detector, tmp_path, monkeypatch, data, kind):
        (tmp_path / "bomb.png").write_bytes(data)
        source = {"bytes": data, "path": tmp_path / "bomb.png", "directory": tmp_path}.get(kind)
        if kind == "pil":
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
            source = Image.open(tmp_path / "bomb.png")
        if kind == "stdin":
            TestStandardInput.pipe(monkeypatch, data)
            source = "-"

        def unpack(*_):
            raise AssertionError("it was unpacked")

        monkeypatch.setattr(Image.Image, "convert", unpack)
        monkeypatch.setattr(ImageFile.ImageFile, "load", unpack)
        with pytest.raises(InvalidInputError, match="has more than 178 million pixels"):
            detector.detect(source)


def test_what_is_read_ahead_is_bounded_by_bytes(tmp_path, monkeypatch):
    """Four pictures of half a gigabyte each would be in memory at once."""
    from edgedet.runtime import pipeline

    monkeypatch.setattr(pipeline, "_MOST_BYTES", 64 * 64 * 3 - 1)
    for number in range(6):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / f"{number}.png")
    read = []
    original = reading.images.read_image
    monkeypatch.setattr(
        reading.images, "read_image", lambda path: (read.append(path), original(path))[1]
    )
    items = read_source(tmp_path, Reading())
    next(items)
    time.sleep(0.1)
    assert len(read) == 2
    assert len(list(items)) == 5


def test_open_files_are_refused_with_the_remedy(detector, album):
    with (
        (album / "shot2.png").open("rb") as opened,
        pytest.raises(InvalidInputError, match=r"pass its bytes, as in `file\.read\(\)`"),
    ):
        detector.detect(opened)


def test_errors_are_items_where_they_are_skipped(album):
    (album / "shot3.png").write_bytes(b"no picture")
    items = list(read_source(album, Reading(skip=True)))
    assert [type(item) for item in items] == [SourceImage, Unreadable, SourceImage]
    assert (items[1].name, items[1].partly) == (str(album / "shot3.png"), False)
