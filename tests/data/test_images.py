"""Given pictures of every common kind, `read_image` gives upright RGB, or one sentence."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgedet import images
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.images import MAX_PIXELS, read_image, read_image_bytes

# Red, green / blue, grey: no two corners alike, so every turn and mirroring shows.
CORNERS = np.array(
    [[[250, 0, 0], [0, 240, 0], [0, 0, 230]], [[90, 90, 90], [250, 250, 0], [0, 250, 250]]],
    np.uint8,
)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    pixels = read_image_bytes(data, "picture")
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    return pixels


def flat(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (5, 4), colour)


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (5, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return encoded(image, "PNG", **({"transparency": bytes([255, 0])} if transparent else {}))


def grey16(level: int, form: str) -> bytes:
    return encoded(Image.fromarray(np.full((4, 5), level, np.uint16)), form)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encoded(flat("RGB", (200, 100, 50)), "PNG"), (200, 100, 50), id="rgb"),
        pytest.param(encoded(flat("L", 77), "PNG"), (77, 77, 77), id="grey"),
        pytest.param(encoded(flat("1", 1), "PNG"), (255, 255, 255), id="bilevel"),
        pytest.param(palette(False), (200, 100, 50), id="palette"),
        pytest.param(palette(True), (255, 255, 255), id="palette, transparent"),
        pytest.param(
            encoded(flat("RGBA", (200, 100, 50, 255)), "PNG"), (200, 100, 50), id="rgba, opaque"
        ),
        pytest.param(
            encoded(flat("RGBA", (200, 100, 50, 0)), "PNG"), (255, 255, 255), id="rgba, transparent"
        ),
        pytest.param(
            encoded(flat("RGBA", (200, 100, 50, 51)), "PNG"), (244, 224, 214), id="rgba, one fifth"
        ),
        pytest.param(encoded(flat("LA", (40, 0)), "PNG"), (255, 255, 255), id="grey with alpha"),
        pytest.param(
            encoded(flat("RGB", (9, 8, 7)), "PNG", transparency=(9, 8, 7)),
            (255, 255, 255),
            id="rgb with a transparent colour",
        ),
        pytest.param(grey16(65535, "PNG"), (255, 255, 255), id="16-bit grey, white"),
        pytest.param(grey16(0, "PNG"), (0, 0, 0), id="16-bit grey, black"),
        pytest.param(grey16(257 * 200 + 128, "PNG"), (200, 200, 200), id="16-bit grey, scaled"),
        pytest.param(grey16(257 * 200 + 129, "PNG"), (201, 201, 201), id="16-bit grey, rounded"),
        pytest.param(grey16(257 * 100, "TIFF"), (100, 100, 100), id="16-bit grey, TIFF"),
        pytest.param(
            encoded(flat("I", 257 * 100), "TIFF"), (100, 100, 100), id="16-bit grey in 32 bits"
        ),
        pytest.param(encoded(flat("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0), id="cmyk"),
        pytest.param(encoded(flat("RGB", (255, 0, 0)), "GIF"), (255, 0, 0), id="gif"),
        pytest.param(encoded(flat("RGB", (1, 2, 3)), "BMP"), (1, 2, 3), id="bmp"),
        pytest.param(encoded(flat("RGB", (1, 2, 3)), "WEBP", lossless=True), (1, 2, 3), id="webp"),
        pytest.param(encoded(flat("RGB", (1, 2, 3)), "PPM"), (1, 2, 3), id="ppm"),
    ],
)
def test_every_kind_of_picture_becomes_rgb(data: bytes, expected: tuple[int, int, int]) -> None:
    pixels = decoded(data)

    assert pixels.shape == (4, 5, 3)
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.uint8(expected), (4, 5, 3)))


@pytest.mark.parametrize("colour", [(0, 255, 255, 0), (0, 0, 0, 128)])
def test_cmyk_jpeg_is_not_inverted(colour: tuple[int, ...]) -> None:
    pixels = decoded(encoded(flat("CMYK", colour), "JPEG", quality=100))

    expected = [255 * (1 - part / 255) * (1 - colour[3] / 255) for part in colour[:3]]
    np.testing.assert_allclose(pixels[0, 0], expected, atol=4)


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The rows and columns that a camera saves (CIPA DC-008, table 6)."""
    sides = {
        1: lambda u: u,  # row 0 is the top, column 0 the left
        2: lambda u: u[:, ::-1],  # top, right
        3: lambda u: u[::-1, ::-1],  # bottom, right
        4: lambda u: u[::-1],  # bottom, left
        5: lambda u: u.swapaxes(0, 1),  # row 0 is the left, column 0 the top
        6: lambda u: u.swapaxes(0, 1)[::-1],  # right, top
        7: lambda u: u.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
        8: lambda u: u.swapaxes(0, 1)[:, ::-1],  # left, bottom
    }
    return np.ascontiguousarray(sides[orientation](upright))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int, form: str) -> None:
    # Enlarged, because JPEG smears single pixels.
    upright = CORNERS.repeat(16, 0).repeat(16, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    if form == "JPEG":
        options = {"quality": 100, "subsampling": 0}

    pixels = decoded(
        encoded(Image.fromarray(stored(upright, orientation)), form, exif=exif, **options)
    )

    np.testing.assert_allclose(pixels, upright, atol=3 if form == "JPEG" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    pixels = decoded(encoded(Image.fromarray(CORNERS), "PNG", exif=exif))

    np.testing.assert_array_equal(pixels, CORNERS)


def test_damaged_metadata_does_not_hide_intact_pixels() -> None:
    data = encoded(Image.fromarray(CORNERS), "PNG", exif=b"Exif\0\0not metadata")

    np.testing.assert_array_equal(decoded(data), CORNERS)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20000, 10), (10, 20000), (1, 65000)])
def test_extreme_shapes_are_read(width: int, height: int) -> None:
    assert decoded(encoded(Image.new("L", (width, height)), "PNG")).shape == (height, width, 3)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP", "MPO"])
def test_the_first_frame_of_several_is_read(form: str) -> None:
    frames = [flat("RGB", (255, 0, 0)), flat("RGB", (0, 255, 0))]

    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])

    np.testing.assert_allclose(decoded(data)[0, 0], (255, 0, 0), atol=3)


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("data", "fault"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"a,b\n1,2\n", "is no picture", id="text"),
        pytest.param(np.random.default_rng(1).bytes(400), "is no picture", id="random bytes"),
        pytest.param(
            encoded(flat("RGB", (1, 2, 3)), "EPS"), "is no picture", id="PostScript is not run"
        ),
        pytest.param(png_of_size(60000, 60000), "178 million pixels", id="far too large"),
        pytest.param(png_of_size(17850, 10000), "178 million pixels", id="a little too large"),
        pytest.param(encoded(flat("I", 70000), "TIFF"), "32-bit grey", id="32-bit grey"),
        pytest.param(encoded(flat("F", 0.5), "TIFF"), "floating-point", id="floating point"),
    ],
)
def test_what_is_no_usable_picture_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^upload\.png .*{fault}.*\.$"):
        read_image_bytes(data, "upload.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_sizes_near_the_limit_are_told_apart_by_the_header() -> None:
    width, height = 17800, 10000
    assert width * height == MAX_PIXELS

    with pytest.raises(InvalidInputError, match="truncated"):
        read_image_bytes(png_of_size(width, height), "largest")


def test_large_pictures_within_the_limit_are_read_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png_of_size(17800, 10000))
    script = (
        "import sys, edgedet.images\n"
        "try: edgedet.images.read_image(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "large.png"], capture_output=True, text=True
    )

    assert "truncated" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_pictures_are_refused(form: str, share: float) -> None:
    data = encoded(Image.fromarray(NOISE), form)

    with pytest.raises(InvalidInputError, match=r"^cut (is no picture|is damaged or truncated)"):
        read_image_bytes(data[: int(share * len(data))], "cut")


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(deadline=None)
@given(
    form=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_pictures_are_read_or_refused_but_never_crash(
    form: str, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(encoded(Image.fromarray(NOISE[:24, :16]), form))
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value

    with suppress(InvalidInputError):
        decoded(bytes(data))


def test_formats_that_this_pillow_lacks_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {form: encoded(Image.fromarray(CORNERS), form) for form in ("WEBP", "TIFF")}
    monkeypatch.delitem(Image.OPEN, "WEBP")
    images.formats.cache_clear()
    try:
        np.testing.assert_array_equal(decoded(data["TIFF"]), CORNERS)
        with pytest.raises(InvalidInputError, match="is no picture"):
            decoded(data["WEBP"])
    finally:
        images.formats.cache_clear()


def a_directory(folder: Path) -> Path:
    (folder / "pictures").mkdir()
    return folder / "pictures"


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def a_circle_of_links(folder: Path) -> Path:
    (folder / "link.png").symlink_to("link.png")
    return folder / "link.png"


@pytest.mark.parametrize(
    ("make", "kind", "fault"),
    [
        (lambda folder: folder / "missing.png", MissingFileError, "does not exist"),
        (lambda folder: folder / ("x" * 300), MissingFileError, "does not exist"),
        (lambda folder: folder / "nul\0.png", MissingFileError, "does not exist"),
        (lambda folder: folder / "missing" / "a.png", MissingFileError, "does not exist"),
        (a_circle_of_links, MissingFileError, "does not exist"),
        (a_directory, InvalidInputError, "is a directory"),
        (a_pipe, InvalidInputError, "is no regular file"),
    ],
)
def test_paths_that_lead_to_no_picture_are_refused(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[EdgeDetError], fault: str
) -> None:
    path = make(tmp_path)

    with pytest.raises(kind, match=fault) as caught:
        read_image(path)

    assert str(path) in str(caught.value)


def test_a_file_is_read_like_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "corners.png"
    Image.fromarray(CORNERS).save(path)

    np.testing.assert_array_equal(read_image(path), CORNERS)
    np.testing.assert_array_equal(read_image(str(path)), CORNERS)
