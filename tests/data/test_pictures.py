"""Pictures opened for training look as `read_image` shows them, and are refused in its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.pictures import open_picture, picture_of
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.images import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)


def write(path: Path, mode: str = "RGB", orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(PIXELS).convert(mode)
    picture.save(path, **({"exif": exif} if path.suffix == ".jpg" else {}))
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_kind_looks_as_at_detection(suffix: str, mode: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a{suffix}", mode)
    picture = open_picture(path)
    assert (picture.width, picture.height) == (70, 45)
    decoded, reduction = picture.decode(1)
    assert reduction == 1
    np.testing.assert_array_equal(np.asarray(decoded), read_image(path))


@pytest.mark.parametrize("mode", ["CMYK"])
def test_rarer_jpegs_look_as_at_detection(mode: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", mode)
    np.testing.assert_array_equal(open_picture(path).decode(8)[0], read_image(path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_stand_upright(orientation: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", orientation=orientation)
    picture = open_picture(path)
    expected = read_image(path)
    assert (picture.height, picture.width) == expected.shape[:2]
    np.testing.assert_array_equal(np.asarray(picture.decode(1)[0]), expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("most", [2, 4, 8])
def test_jpegs_are_decoded_smaller_on_demand(most: int, mode: str, tmp_path: Path) -> None:
    rows, columns = np.mgrid[:45, :70]
    smooth = np.stack([3 * rows, 3 * columns, rows + columns], -1).astype(np.uint8)
    Image.fromarray(smooth).convert(mode).save(tmp_path / "a.jpg", quality=95)
    decoded, reduction = open_picture(tmp_path / "a.jpg").decode(most)
    assert reduction == most
    assert decoded.mode == "RGB"
    assert decoded.size == (-(-70 // most), -(-45 // most))
    whole = read_image(tmp_path / "a.jpg").astype(float)
    small = np.asarray(decoded).astype(float)
    # Pixel (x, y) is the mean of a square; those at the right and lower edge are not whole.
    height, width = 45 // most * most, 70 // most * most
    means = whole[:height, :width].reshape(height // most, most, width // most, most, 3)
    np.testing.assert_allclose(small[: 45 // most, : 70 // most], means.mean((1, 3)), atol=6)


def test_a_picture_smaller_than_the_reduction_stays_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (3, 1), (200, 0, 0)).save(tmp_path / "a.jpg")
    decoded, reduction = open_picture(tmp_path / "a.jpg").decode(8)
    assert min(decoded.size) >= 1
    assert reduction in (1, 2, 4, 8)


def test_pixels_at_hand_are_a_picture() -> None:
    picture = picture_of(PIXELS)
    assert (picture.width, picture.height) == (70, 45)
    np.testing.assert_array_equal(np.asarray(picture.decode(4)[0]), PIXELS)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.jpg does not exist"):
        open_picture(tmp_path / "none.jpg")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0 no picture"])
def test_what_is_no_picture_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"a\.jpg is (empty|no picture)"):
        open_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("most", [1, 4])
def test_a_truncated_picture_is_named(most: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-600])
    picture = open_picture(path)
    with pytest.raises(InvalidInputError, match=r"a\.jpg is damaged or truncated"):
        picture.decode(most)


def test_a_directory_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(EdgeDetError, match="is a directory"):
        open_picture(tmp_path)


def test_a_picture_of_too_many_pixels_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jpg")
    monkeypatch.setattr("edgedet.images.MAX_PIXELS", 1000)
    monkeypatch.setattr("edgedet.data.pictures.MAX_PIXELS", 1000)
    with pytest.raises(InvalidInputError, match=r"a\.jpg has more than"):
        open_picture(path)
