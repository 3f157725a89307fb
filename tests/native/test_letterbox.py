"""The native letterbox against the NumPy reference and against what its docstring promises."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import ops, reference
from edgedet.errors import InvalidInputError

sides = st.integers(1, 70)
dtypes = st.sampled_from([np.float32, np.int8, np.uint8])
CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "gray": 1}
layouts = st.sampled_from(list(CHANNELS))


def random_image(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def draw_view(data: st.DataObject, height: int, width: int, *channels: int) -> np.ndarray:
    """A random array [height, width, *channels] with any strides: a part of a larger one."""
    steps = [data.draw(st.sampled_from([1, -1, 2, -3]), label="step") for _ in range(2)]
    if data.draw(st.booleans(), label="transposed"):
        height, width, steps = width, height, steps[::-1]
        axes = (1, 0, 2)
    else:
        axes = (0, 1, 2)
    shape = [abs(step) * side for step, side in zip(steps, (height, width), strict=True)]
    seed = data.draw(st.integers(0, 2**32), label="seed")
    padding = data.draw(st.integers(0, 2), label="bytes between pixels")
    count = channels[0] if channels else 1
    block = np.random.default_rng(seed).integers(0, 256, (*shape, count + padding), np.uint8)
    view = block[:: steps[0], :: steps[1], padding:].transpose(axes)
    return view if channels else view[..., 0]


def draw_options(data: st.DataObject, dtype: Any) -> dict[str, Any]:
    return {
        "mean": tuple(data.draw(st.floats(-300, 300, width=32)) for _ in range(3)),
        "std": tuple(data.draw(st.floats(0.125, 300, width=32)) for _ in range(3)),
        "dtype": dtype,
        "scale": data.draw(st.floats(1e-3, 10)),
        "zero_point": data.draw(st.integers(0, 127)),
        "rotation": data.draw(st.sampled_from([0, 90, 180, 270])),
        "mirror": data.draw(st.booleans()),
    }


@settings(max_examples=300, deadline=None)
@given(layouts, sides, sides, sides, sides, dtypes, st.data())
def test_equals_the_reference_bit_for_bit(
    layout: Any, height: int, width: int, rows: int, columns: int, dtype: Any, data: st.DataObject
) -> None:
    image = draw_view(data, height, width, CHANNELS[layout])
    if data.draw(st.booleans(), label="channels reversed"):
        image = image[..., ::-1]
    options = {"format": layout, **draw_options(data, dtype)}
    expected, expected_ratio = reference.letterbox(image, (rows, columns), **options)
    tensor, ratio = ops.letterbox(image, (rows, columns), **options)
    assert ratio == expected_ratio
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor, expected)


@settings(max_examples=200, deadline=None)
@given(sides, sides, sides, sides, dtypes, st.data())
def test_yuv_equals_the_reference_bit_for_bit(
    height: int, width: int, rows: int, columns: int, dtype: Any, data: st.DataObject
) -> None:
    y = draw_view(data, height, width)
    u, v = (draw_view(data, (height + 1) // 2, (width + 1) // 2) for _ in range(2))
    options = {
        "yuv": data.draw(st.sampled_from(["bt601-full", "bt601-limited"])),
        **draw_options(data, dtype),
    }
    expected, expected_ratio = reference.letterbox_yuv(y, u, v, (rows, columns), **options)
    tensor, ratio = ops.letterbox_yuv(y, u, v, (rows, columns), **options)
    assert ratio == expected_ratio
    np.testing.assert_array_equal(tensor, expected)


def test_rotation_is_clockwise_and_comes_before_the_mirror() -> None:
    image = random_image(4, 3, 5)
    options: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1), "dtype": np.uint8}
    tensor, _ = ops.letterbox(image, (5, 3), rotation=90, **options)
    np.testing.assert_array_equal(tensor[0], image[::-1, 0])
    np.testing.assert_array_equal(tensor[:, -1], image[0])
    mirrored, _ = ops.letterbox(image, (5, 3), rotation=90, mirror=True, **options)
    np.testing.assert_array_equal(mirrored, tensor[:, ::-1])


@pytest.mark.parametrize("layout", list(CHANNELS))
def test_formats_name_the_same_pixels(layout: Any) -> None:
    image = random_image(5, 40, 50)
    if layout == "gray":
        image = np.repeat(image[..., :1], 3, axis=-1)
    given = {
        "rgb": image,
        "bgr": image[..., ::-1].copy(),
        "rgba": np.dstack([image, random_image(6, 40, 50)[..., 0]]),
        "bgra": np.dstack([image[..., ::-1], random_image(6, 40, 50)[..., 0]]),
        "gray": image[..., 0].copy(),
    }
    expected, _ = ops.letterbox(image, (30, 30), dtype=np.int8, scale=1 / 127)
    tensor, _ = ops.letterbox(given[layout], (30, 30), dtype=np.int8, scale=1 / 127, format=layout)
    np.testing.assert_array_equal(tensor, expected)


def test_gray_may_have_a_channel_axis() -> None:
    image = random_image(7, 20, 30)[..., 0]
    flat, _ = ops.letterbox(image, (16, 16), format="gray")
    deep, _ = ops.letterbox(image[..., None], (16, 16), format="gray")
    np.testing.assert_array_equal(deep, flat)


def test_a_channel_of_padding_at_the_very_end_is_not_read() -> None:
    """The last pixel of a view of four-byte pixels ends where the buffer ends."""
    buffer = np.arange(4 * 6 - 1, dtype=np.uint8)
    image = np.lib.stride_tricks.as_strided(buffer, (2, 3, 3), (12, 4, 1))
    for rotation in (0, 90, 180, 270):
        expected, _ = reference.letterbox(image, (6, 6), rotation=rotation)
        tensor, _ = ops.letterbox(image, (6, 6), rotation=rotation)
        np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 5), (4, 7), (33, 64)])
def test_nv21_planes_are_those_of_the_buffer(height: int, width: int) -> None:
    rows, columns = (height + 1) // 2, (width + 1) // 2
    rng = np.random.default_rng(height)
    y = rng.integers(0, 256, (height, width), np.uint8)
    u, v = rng.integers(0, 256, (2, rows, columns), np.uint8)
    buffer = np.concatenate([y.ravel(), np.stack([v, u], -1).ravel()])
    planes = ops.nv21_planes(buffer, (height, width))
    for plane, expected in zip(planes, (y, u, v), strict=True):
        np.testing.assert_array_equal(plane, expected)
        assert np.shares_memory(plane, buffer)
    tensor, _ = ops.letterbox_yuv(*planes, (24, 24))
    expected_tensor, _ = reference.letterbox_yuv(y, u, v, (24, 24))
    np.testing.assert_array_equal(tensor, expected_tensor)


@pytest.mark.parametrize(
    ("yuv", "sample", "rgb"),
    [
        ("bt601-full", (0, 128, 128), (0, 0, 0)),
        ("bt601-full", (255, 128, 128), (255, 255, 255)),
        ("bt601-full", (76, 85, 255), (254, 0, 0)),
        ("bt601-full", (150, 44, 21), (0, 255, 1)),
        ("bt601-full", (29, 255, 107), (0, 0, 254)),
        ("bt601-limited", (16, 128, 128), (0, 0, 0)),
        ("bt601-limited", (235, 128, 128), (255, 255, 255)),
        ("bt601-limited", (81, 90, 240), (254, 0, 0)),
        ("bt601-limited", (41, 240, 110), (0, 0, 255)),
    ],
)
def test_yuv_colours(yuv: Any, sample: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    y, u, v = (np.full((1, 1), value, np.uint8) for value in sample)
    tensor, _ = ops.letterbox_yuv(
        y, u, v, (1, 1), mean=(0, 0, 0), std=(1, 1, 1), dtype=np.uint8, yuv=yuv
    )
    assert tuple(tensor[0, 0]) == rgb


def opencv_bilinear(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """cv2.resize with INTER_LINEAR of uint8, in its fixed-point arithmetic of 11-bit weights."""

    def taps(side: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position = np.clip((np.arange(count) + 0.5) * (side / count) - 0.5, 0, side - 1)
        low = np.floor(position).astype(int)
        return low, np.minimum(low + 1, side - 1), np.rint((position - low) * 2048).astype(int)

    pixels = image.astype(int)
    left, right, weight = taps(image.shape[1], columns)
    across = pixels[:, left] * (2048 - weight)[:, None] + pixels[:, right] * weight[:, None]
    top, bottom, weight = taps(image.shape[0], rows)
    weight = weight[:, None, None]
    above, below = across[top] >> 4, across[bottom] >> 4
    return ((above * (2048 - weight) >> 16) + (below * weight >> 16) + 2) >> 2


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(360, 640, 192), (240, 320, 128), (270, 480, 160), (60, 80, 192), (128, 128, 128)],
)
def test_within_one_grey_level_of_opencv(height: int, width: int, size: int) -> None:
    image = random_image(8, height, width)
    rows = height * size // width
    tensor, _ = ops.letterbox(image, (size, size), mean=(0, 0, 0), std=(1, 1, 1))
    difference = tensor[:rows] - opencv_bilinear(image, rows, size)
    assert np.abs(difference).max() <= 1.0


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (20000, 10), (10, 20000), (1, 5000), (256, 256), (3, 2000)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8])
def test_extreme_sizes_equal_the_reference(height: int, width: int, dtype: Any) -> None:
    image = random_image(0, height, width)
    options = {"dtype": dtype, "scale": 1 / 127.5, "zero_point": 100}
    expected, ratio = reference.letterbox(image, (256, 320), **options)
    tensor, native_ratio = ops.letterbox(image, (256, 320), **options)
    assert native_ratio == ratio == min(256 / height, 320 / width)
    np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize(
    "view",
    [
        lambda image: np.asfortranarray(image),
        lambda image: image.transpose(1, 0, 2),
        lambda image: np.broadcast_to(image[:1, :1], (30, 40, 3)),
        lambda image: np.broadcast_to(image[..., :1], image.shape),
        lambda image: image[::-1, ::-1, ::-1],
        lambda image: np.concatenate([image, image[..., :1]], axis=-1)[..., :3],
    ],
    ids=["fortran", "transposed", "one pixel repeated", "grey repeated", "reversed", "of RGBA"],
)
def test_any_strides_give_what_a_copy_gives(view: Any) -> None:
    image = view(random_image(1, 33, 47))
    copied, _ = ops.letterbox(np.ascontiguousarray(image), (40, 40))
    strided, _ = ops.letterbox(image, (40, 40))
    np.testing.assert_array_equal(strided, copied)


def test_a_read_only_image_is_accepted() -> None:
    image = random_image(2, 9, 9)
    image.flags.writeable = False
    tensor, _ = ops.letterbox(image, (9, 9), mean=(0, 0, 0), std=(1, 1, 1), dtype=np.uint8)
    np.testing.assert_array_equal(tensor, image)


@pytest.mark.parametrize("shape", [(20, 30, 3), (1, 20, 30, 3)])
def test_out_is_written_in_place_and_returned(shape: tuple[int, ...]) -> None:
    image = random_image(3, 50, 60)
    expected, _ = ops.letterbox(image, (20, 30))
    out = np.full(shape, np.nan, np.float32)
    tensor, _ = ops.letterbox(image, (20, 30), out=out)
    assert tensor is out
    np.testing.assert_array_equal(out.reshape(expected.shape), expected)


def test_padding_is_what_normalizes_to_zero() -> None:
    image = np.full((10, 5, 3), 255, np.uint8)
    options: dict[str, Any] = {"mean": (120.3, 110.2, 100.1), "std": (58.0, 57.0, 57.5)}
    tensor, _ = ops.letterbox(image, (20, 20), **options)
    assert (tensor[:, 10:] == 0).all()
    assert (tensor[:, :10] > 0).all()
    tensor, _ = ops.letterbox(image, (20, 20), dtype=np.int8, scale=0.02, zero_point=-9, **options)
    assert (tensor[:, 10:] == -9).all()


@pytest.mark.parametrize(("height", "width"), [(100, 200), (37, 253), (16, 8), (240, 31)])
@pytest.mark.parametrize("axis", [0, 1], ids=["down", "across"])
def test_a_ramp_stays_the_ramp_it_was(height: int, width: int, axis: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image += np.arange(image.shape[axis], dtype=np.uint8).reshape(
        (-1, 1, 1) if axis == 0 else (-1, 1)
    )
    tensor, ratio = ops.letterbox(image, (64, 64), mean=(0, 0, 0), std=(1, 1, 1))
    line = tensor[:, 0, 1] if axis == 0 else tensor[0, :, 1]
    count = int(image.shape[axis] * ratio + 0.5)
    expected = np.clip((np.arange(count) + 0.5) / ratio - 0.5, 0, image.shape[axis] - 1)
    np.testing.assert_allclose(line[:count], expected, atol=1e-4)


def test_threads_do_not_disturb_each_other() -> None:
    images = [random_image(seed, 90 + seed, 120 - seed) for seed in range(16)]
    expected = [reference.letterbox(image, (64, 64), dtype=np.int8)[0] for image in images]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(ops.letterbox, images[i % 16], (64, 64), dtype=np.int8) for i in range(400)
        ]
        for i, job in enumerate(jobs):
            np.testing.assert_array_equal(job.result()[0], expected[i % 16])


def test_arrays_are_released_when_it_returns() -> None:
    image, out = random_image(9, 20, 30), np.empty((16, 16, 3), np.float32)
    references = sys.getrefcount(image), sys.getrefcount(out)
    for _ in range(10):
        ops.letterbox(image, (16, 16), out=out)
        with pytest.raises(InvalidInputError):
            ops.letterbox(image, (16, 17), out=out)
    assert (sys.getrefcount(image), sys.getrefcount(out)) == references
