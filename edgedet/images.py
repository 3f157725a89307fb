"""Reading pictures of every common kind as RGB arrays, and refusing what can't be read."""

from __future__ import annotations

import errno
import io
import os
import stat
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet.errors import InvalidInputError, MissingFileError

# Pillow itself refuses pictures from twice its MAX_IMAGE_PIXELS on, about 179 million.
MAX_PIXELS = 178_000_000
_MAX_BYTES = 2**31

# Pillow can read more, but formats that run other programs (EPS) or have no signature (TGA, which
# text can be mistaken for) stay out.
_FORMATS = (
    "JPEG",
    "PNG",
    "BMP",
    "GIF",
    "PPM",
    "WEBP",
    "TIFF",
    "AVIF",
    "DIB",
    "ICO",
    "JPEG2000",
)

_TRANSPARENT_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
# How to undo each EXIF orientation (CIPA DC-008, section 4.6.4); 1 is upright.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns from half of its limit on; here the number of pixels is checked before decoding.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read a picture as RGB, [H, W, 3] uint8, turned upright as its EXIF orientation says.

    Transparent parts are laid on white. 16-bit grey is scaled, 65535 becoming 255. CMYK is
    converted without colour management. Of an animation or a multi-page file the first frame is
    read.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: a directory, empty, truncated, no picture, above `MAX_PIXELS`, or grey
            levels without a known white (32-bit and floating-point pictures).
    """
    return read_image_bytes(_read_bytes(Path(path)), str(path))


def read_image_bytes(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Decode a picture held in memory like `read_image`; `name` stands for it in messages.

    Raises:
        InvalidInputError: as `read_image`.
    """
    if not data:
        raise InvalidInputError(f"{name} is empty; replace it by a picture.")
    try:
        picture = Image.open(io.BytesIO(data), formats=formats())
    except Image.DecompressionBombError:
        raise InvalidInputError(_too_large(name)) from None
    # Decoders raise whatever a damaged file leads them to: struct.error, SyntaxError, KeyError ...
    except Exception:
        raise InvalidInputError(
            f"{name} is no picture that can be read; use JPEG, PNG, WebP, BMP, GIF or TIFF."
        ) from None
    if picture.width * picture.height > MAX_PIXELS:
        raise InvalidInputError(_too_large(name))
    return to_rgb(picture, name)


def to_rgb(picture: Image.Image, name: str = "the picture") -> npt.NDArray[np.uint8]:
    """Pixels of an opened picture like `read_image`; `name` stands for it in messages.

    Raises:
        InvalidInputError: truncated, damaged, or grey levels without a known white.
    """
    try:
        picture.load()
        rgb = _rgb(picture, name)
        turn = _UPRIGHT.get(orientation(picture))
        return np.array(rgb if turn is None else rgb.transpose(turn))
    except (InvalidInputError, MemoryError):
        raise
    except Exception as error:
        raise InvalidInputError(
            f"{name} is damaged or truncated ({error}); replace it by an intact copy."
        ) from None


def _read_bytes(source: Path) -> bytes:
    try:
        status = source.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_BYTES:
            return source.read_bytes()
    except PermissionError:
        raise InvalidInputError(f"{source} can't be read; check its permissions.") from None
    # Names that are too long and links in a circle are OSErrors, a NUL byte is a ValueError.
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EIO, errno.EMFILE, errno.ENFILE):
            raise
        raise MissingFileError(f"{source} does not exist; check the path.") from None
    if stat.S_ISDIR(status.st_mode):
        raise InvalidInputError(f"{source} is a directory; name a picture in it.")
    if stat.S_ISREG(status.st_mode):
        raise InvalidInputError(f"{source} is larger than 2 GiB; scale the picture down.")
    raise InvalidInputError(f"{source} is no regular file; name a picture.")


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read, as far as this build of Pillow knows them."""
    # Naming an unknown one would be a KeyError.
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS // 10**6} million pixels; scale it down."


def _rgb(picture: Image.Image, name: str) -> Image.Image:
    mode = picture.mode
    if mode.startswith("I;16"):
        return _from_grey16(np.asarray(picture))
    if mode == "I":
        # Older releases of Pillow give 16-bit PNG this mode too.
        levels = np.asarray(picture)
        if levels.min() < 0 or levels.max() > 65535:
            raise InvalidInputError(f"{name} has 32-bit grey levels; convert it to 8 or 16 bits.")
        return _from_grey16(levels)
    if mode == "F":
        raise InvalidInputError(f"{name} has floating-point grey levels; convert it to 8 bits.")
    if mode in _TRANSPARENT_MODES or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return picture if mode == "RGB" else picture.convert("RGB")


def _from_grey16(levels: npt.NDArray[np.generic]) -> Image.Image:
    # 65535 / 257 = 255 exactly.
    scaled = (levels.astype(np.uint32) + 128) // 257
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright (CIPA DC-008, section 4.6.4)."""
    # Damaged metadata is no reason to refuse intact pixels.
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1
