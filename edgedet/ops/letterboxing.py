"""Fitting an image into a network's input tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgedet import _native, arguments
from edgedet.errors import InvalidInputError

ByteArray = npt.NDArray[np.uint8]
PixelFormat = Literal["rgb", "bgr", "rgba", "bgra", "gray"]
YuvRange = Literal["bt601-full", "bt601-limited"]

MAX_IMAGE_SIDE = 1 << 20
MAX_TENSOR_SIDE = 8192

_INPUT_TYPES = (np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.uint8))
_FLOAT32 = np.dtype(np.float32)
# Channels of a pixel, and where red, green and blue are among them.
_PIXELS = {
    "rgb": (3, (0, 1, 2)),
    "bgr": (3, (2, 1, 0)),
    "rgba": (4, (0, 1, 2)),
    "bgra": (4, (2, 1, 0)),
    "gray": (1, (0,)),
}
_YUV_RANGES = ("bt601-full", "bt601-limited")
_ROTATIONS = (0, 90, 180, 270)


def letterbox(
    image: ByteArray,
    size: tuple[int, int],
    *,
    mean: Sequence[float] = (127.5, 127.5, 127.5),
    std: Sequence[float] = (127.5, 127.5, 127.5),
    dtype: npt.DTypeLike = np.float32,
    scale: float = 1.0,
    zero_point: int = 0,
    out: npt.NDArray[Any] | None = None,
    format: PixelFormat = "rgb",  # noqa: A002
    rotation: int = 0,
    mirror: bool = False,
) -> tuple[npt.NDArray[Any], float]:
    """Fit an image into the top left of a network's input tensor, normalized and quantized.

    The image is rotated, then mirrored, then resized: H and W are the sides that this leaves. The
    aspect is kept: `ratio = min(height / H, width / W)`, and each side becomes
    `floor(side * ratio + 0.5)`, at least 1. Bilinear with half-pixel centres and clamped edges,
    without rounding to grey levels in between. A value becomes `(value - mean) / std`; for integer
    types that is divided by `scale`, rounded half to even, moved by `zero_point` and saturated.
    The rest of the tensor holds the element that stands for 0.

    Everything happens in one pass over the pixels that are needed, without a copy of the image.

    Args:
        image: [H, W, channels] uint8, any strides; gray may be [H, W].
        size: (height, width) of the tensor.
        mean: red, green and blue mean in grey levels.
        std: red, green and blue divisor in grey levels.
        dtype: float32, int8 or uint8.
        scale: quantization scale of integer types; ignored for float32.
        zero_point: quantization zero point of integer types; ignored for float32.
        out: tensor to write to and return: C-contiguous, of type `dtype` and of shape
            [height, width, 3] or [1, height, width, 3].
        format: rgb, bgr, rgba, bgra or gray: the channels of `image`. Alpha is ignored, not laid
            on a background; gray counts as red, green and blue.
        rotation: 0, 90, 180 or 270 degrees clockwise, applied to the image first.
        mirror: whether to swap left and right, after the rotation.

    Returns:
        The tensor [height, width, 3] of red, green and blue (or `out`), and the ratio of tensor
        pixels to pixels of the rotated image.

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    height, width = arguments.size("size", size, MAX_TENSOR_SIDE)
    planes = _pixel_planes(image, format)
    return _fit(
        planes,
        "gray" if format == "gray" else "rgb",
        {"image": image},
        (height, width),
        mean=mean,
        std=std,
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        out=out,
        rotation=rotation,
        mirror=mirror,
    )


def letterbox_yuv(
    y: ByteArray,
    u: ByteArray,
    v: ByteArray,
    size: tuple[int, int],
    *,
    mean: Sequence[float] = (127.5, 127.5, 127.5),
    std: Sequence[float] = (127.5, 127.5, 127.5),
    dtype: npt.DTypeLike = np.float32,
    scale: float = 1.0,
    zero_point: int = 0,
    out: npt.NDArray[Any] | None = None,
    yuv: YuvRange = "bt601-full",
    rotation: int = 0,
    mirror: bool = False,
) -> tuple[npt.NDArray[Any], float]:
    """`letterbox` of an image of luma and halved chroma planes, as cameras and videos give them.

    Equals `letterbox` of the image converted to RGB, but only the pixels that are needed are
    converted. Each chroma sample stands for a square of 2 x 2 pixels (nearest). The planes may
    have any strides, so that they are views of Android's YUV_420_888, I420, NV21 (see
    `nv21_planes`) or NV12 buffers.

    Full range, what Android's cameras give, is that of JFIF (ITU-T T.871, section 7):
    `R = Y + 1.402 (V - 128)`, `B = Y + 1.772 (U - 128)` and
    `G = Y - (0.114 * 1.772 (U - 128) + 0.299 * 1.402 (V - 128)) / 0.587`, in float32, rounded half
    to even and clamped to 0..255. Limited range (ITU-R BT.601-7, section 2.5.3) has
    `(Y - 16) * 255 / 219` for Y, and the factors of U and V times 255 / 224.

    Args:
        y: [H, W] uint8 luma, any strides.
        u: [(H + 1) // 2, (W + 1) // 2] uint8 blue difference (Cb), any strides.
        v: the same shape: red difference (Cr).
        size: (height, width) of the tensor.
        mean: as for `letterbox`, like the following.
        std: see `letterbox`.
        dtype: see `letterbox`.
        scale: see `letterbox`.
        zero_point: see `letterbox`.
        out: see `letterbox`.
        yuv: bt601-full or bt601-limited.
        rotation: see `letterbox`.
        mirror: see `letterbox`.

    Returns:
        The tensor and the ratio, as `letterbox`.

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    height, width = arguments.size("size", size, MAX_TENSOR_SIDE)
    rows, columns = _plane("y", y).shape
    for name, plane in (("u", u), ("v", v)):
        wanted = ((rows + 1) // 2, (columns + 1) // 2)
        if _plane(name, plane).shape != wanted:
            raise InvalidInputError(
                f"{name} must have shape {list(wanted)}, half of y's, not {list(plane.shape)}."
            )
    arguments.choice("yuv", yuv, _YUV_RANGES)
    return _fit(
        (y, u, v),
        yuv,
        {"y": y, "u": u, "v": v},
        (height, width),
        mean=mean,
        std=std,
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        out=out,
        rotation=rotation,
        mirror=mirror,
    )


def nv21_planes(buffer: ByteArray, size: tuple[int, int]) -> tuple[ByteArray, ByteArray, ByteArray]:
    """The planes y, u and v of an NV21 picture, as views; of NV12 they are y, v and u.

    Args:
        buffer: uint8 of H * W + 2 * ((H + 1) // 2) * ((W + 1) // 2) elements without gaps: luma
            row by row, then V and U alternately.
        size: (H, W).

    Returns:
        y [H, W], u and v [(H + 1) // 2, (W + 1) // 2].

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    height, width = arguments.size("size", size, MAX_IMAGE_SIDE)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    if (
        not isinstance(buffer, np.ndarray)
        or buffer.dtype != np.uint8
        or not buffer.flags.c_contiguous
    ):
        raise InvalidInputError(
            f"buffer must be a C-contiguous uint8 array, not {arguments.kind(buffer)}."
        )
    luma, chroma = height * width, 2 * rows * columns
    if buffer.size != luma + chroma:
        raise InvalidInputError(
            f"buffer must have {luma + chroma} elements for {height} x {width} pixels, "
            f"not {buffer.size}."
        )
    flat = buffer.reshape(-1)
    pairs = flat[luma:].reshape(rows, columns, 2)
    return flat[:luma].reshape(height, width), pairs[..., 1], pairs[..., 0]


def _pixel_planes(image: ByteArray, layout: PixelFormat) -> tuple[ByteArray, ...]:
    """The planes red, green and blue of an image, or its one plane."""
    channels, order = _PIXELS[arguments.choice("format", layout, _PIXELS)]
    if layout == "gray" and isinstance(image, np.ndarray) and image.ndim == 2:
        return (_plane("image", image),)
    arguments.image("image", image, MAX_IMAGE_SIDE, channels)
    return tuple(image[..., channel] for channel in order)


def _plane(name: str, value: object) -> ByteArray:
    """A uint8 array [H, W] with sides of 1..MAX_IMAGE_SIDE."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise InvalidInputError(f"{name} must be a uint8 array, not {arguments.kind(value)}.")
    if value.ndim != 2:
        raise InvalidInputError(f"{name} must have shape [H, W], not {list(value.shape)}.")
    if not all(1 <= side <= MAX_IMAGE_SIDE for side in value.shape):
        raise InvalidInputError(
            f"{name} must have sides of 1 to {MAX_IMAGE_SIDE} pixels, not {list(value.shape)}."
        )
    return value


def _fit(
    planes: tuple[ByteArray, ...],
    colors: str,
    sources: dict[str, ByteArray],
    size: tuple[int, int],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: npt.DTypeLike,
    scale: float,
    zero_point: int,
    out: npt.NDArray[Any] | None,
    rotation: int,
    mirror: bool,
) -> tuple[npt.NDArray[Any], float]:
    """Check the arguments that every format shares, and run the kernels.

    `sources` names the arrays that `out` must not overlap.
    """
    element = arguments.element_type("dtype", dtype, _INPUT_TYPES)
    means, divisors = arguments.channels("mean", mean), arguments.channels("std", std)
    if element == _FLOAT32:
        scale, zero_point = 1.0, 0
    else:
        scale = arguments.scale("scale", scale)
        zero_point = arguments.zero_point("zero_point", zero_point, element)
    if (
        min(divisors) * scale < arguments.SMALLEST_SCALE
        or max(divisors) * scale > arguments.LARGEST_SCALE
    ):
        raise InvalidInputError(f"std must be positive and neither tiny nor huge, not {std!r}.")
    rotation = arguments.integer("rotation", rotation, 0, 270)
    if rotation not in _ROTATIONS:
        raise InvalidInputError(f"rotation must be 0, 90, 180 or 270 degrees, not {rotation}.")
    if not isinstance(mirror, (bool, np.bool_)):
        raise InvalidInputError(f"mirror must be True or False, not {arguments.kind(mirror)}.")
    shape = (*size, 3)
    if out is None:
        tensor = np.empty(shape, element)
        target = tensor
    else:
        tensor = out
        target = arguments.output("out", out, shape, element)
        for name, source in sources.items():
            if np.may_share_memory(target, source):
                raise InvalidInputError(f"out must not share memory with {name}.")
    ratio = _native.letterbox(
        planes, colors, target, means, divisors, scale, zero_point, rotation, bool(mirror)
    )
    return tensor, ratio
