"""The native letterbox against the NumPy reference and against what its docstring promises."""

from __future__ import annotations

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


def random_image(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), sides, sides, sides, sides, dtypes, st.data())
def test_equals_the_reference_bit_for_bit(
    seed: int, height: int, width: int, rows: int, columns: int, dtype: Any, data: st.DataObject
) -> None:
    image = random_image(seed, 2 * height, 2 * width)
    steps = [data.draw(st.sampled_from([1, -1, 2, -2]), label="step") for _ in range(2)]
    image = image[:: steps[0], :: steps[1], :: data.draw(st.sampled_from([1, -1]))]
    options = {
        "mean": tuple(data.draw(st.floats(-300, 300, width=32)) for _ in range(3)),
        "std": tuple(data.draw(st.floats(0.125, 300, width=32)) for _ in range(3)),
        "dtype": dtype,
        "scale": data.draw(st.floats(1e-3, 10)),
        "zero_point": data.draw(st.integers(0, 127)),
    }
    expected, expected_ratio = reference.letterbox(image, (rows, columns), **options)
    tensor, ratio = ops.letterbox(image, (rows, columns), **options)
    assert ratio == expected_ratio
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor, expected)


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


IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("image", {"image": IMAGE.astype(np.float32)}),
        ("image", {"image": IMAGE[..., 0]}),
        ("image", {"image": np.zeros((4, 4, 4), np.uint8)}),
        ("image", {"image": np.zeros((0, 4, 3), np.uint8)}),
        ("image", {"image": np.zeros((4, 0, 3), np.uint8)}),
        ("image", {"image": [[[0, 0, 0]]]}),
        ("image", {"image": None}),
        ("image", {"image": np.broadcast_to(IMAGE[:1, :1], (2**31, 1, 3))}),
        ("size", {"size": (0, 8)}),
        ("size", {"size": (8, -1)}),
        ("size", {"size": (8, 8, 3)}),
        ("size", {"size": 8}),
        ("size", {"size": (8.0, 8)}),
        ("size", {"size": (True, 8)}),
        ("size", {"size": (2**31, 8)}),
        ("mean", {"mean": (0, 0)}),
        ("mean", {"mean": (0, 0, float("nan"))}),
        ("mean", {"mean": ("0", 0, 0)}),
        ("mean", {"mean": (1e39, 0, 0)}),
        ("std", {"std": (0, 1, 1)}),
        ("std", {"std": (-1, 1, 1)}),
        ("std", {"std": (float("inf"), 1, 1)}),
        ("std", {"std": (1e-39, 1, 1)}),
        ("dtype", {"dtype": np.float64}),
        ("dtype", {"dtype": np.int16}),
        ("dtype", {"dtype": "nonsense"}),
        ("dtype", {"dtype": None}),
        ("scale", {"dtype": np.int8, "scale": 0.0}),
        ("scale", {"dtype": np.int8, "scale": -1.0}),
        ("scale", {"dtype": np.int8, "scale": float("nan")}),
        ("scale", {"dtype": np.int8, "scale": "1"}),
        ("zero_point", {"dtype": np.int8, "zero_point": 128}),
        ("zero_point", {"dtype": np.uint8, "zero_point": -1}),
        ("zero_point", {"dtype": np.uint8, "zero_point": 1.5}),
        ("out", {"out": np.zeros((8, 8, 3), np.float64)}),
        ("out", {"out": np.zeros((8, 7, 3), np.float32)}),
        ("out", {"out": np.zeros((8, 3, 8), np.float32).transpose(0, 2, 1)}),
        ("out", {"out": np.broadcast_to(np.float32(0), (8, 8, 3))}),
        ("out", {"out": [0.0]}),
        ("out", {"size": (4, 4), "dtype": np.uint8, "out": IMAGE}),
    ],
)
def test_bad_arguments_are_named(argument: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"image": IMAGE, "size": (8, 8), **changes}
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.letterbox(**arguments)
