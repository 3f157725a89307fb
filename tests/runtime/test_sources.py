from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgedet import Detections
from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.runtime.sources import find_images, is_single, natural_key

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
        ("*.jpg", MissingFileError, "No file matches"),
        ("empty", MissingFileError, "no picture in the directory"),
        ("clip.mp4", InvalidInputError, "is a video; .* extract its frames"),
        ("n" * 300 + ".png", MissingFileError, "There is no picture"),
        ("nul\0.png", MissingFileError, "There is no picture"),
    ],
)
def test_paths_without_pictures_are_refused(tmp_path, name, kind, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "clip.mp4").write_bytes(b"frames")
    with pytest.raises(kind, match=message):
        find_images(tmp_path / name)


def test_a_directory_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InvalidInputError, match="check its permissions"):
        find_images(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://example.org/cat.jpg", "is an address"),
        ("rtsp://camera/stream", "is an address"),
        ("0", "cameras are not read"),
        ("", "source is empty"),
    ],
)
def test_addresses_and_cameras_are_refused(source, message):
    with pytest.raises(InvalidInputError, match=message):
        find_images(source)


@given(st.lists(st.integers(0, 10**30), max_size=8))
def test_numbers_in_names_sort_by_value(numbers):
    files = [Path("photos") / f"img{number}.jpg" for number in numbers]
    expected = [f"img{number}.jpg" for number in sorted(numbers)]
    assert names(sorted(files, key=natural_key)) == expected


def test_leading_zeros_do_not_count():
    paths = [Path("img010.jpg"), Path("img9.jpg"), Path("img0008.jpg")]
    assert names(sorted(paths, key=natural_key)) == ["img0008.jpg", "img9.jpg", "img010.jpg"]


@given(st.lists(st.text(max_size=6), max_size=6))
def test_any_names_can_be_sorted(texts):
    paths = [Path("a") / text.replace("/", "") for text in texts]
    backwards = paths[::-1]
    assert sorted(paths, key=natural_key) == sorted(backwards, key=natural_key)


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

    def test_a_bad_picture_among_many_is_named(self, detector, album):
        (album / "shot3.png").write_bytes(b"no picture")
        with pytest.raises(InvalidInputError, match=r"shot3\.png"):
            detector.detect(album)


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
