"""Anchor grids and box coding against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgedet.anchors import all_anchors, base_anchors, grid, level_anchors
from edgedet.boxes import decode, encode, iou
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec


def _spec(height: int = 256, width: int = 256) -> ModelSpec:
    return ModelSpec("m", InputSpec(height, width), AnchorSpec(scale=4.0), ("a",), (1,))


def test_sizes_are_octave_major_with_ratios_of_width_to_height() -> None:
    sizes = base_anchors(AnchorSpec(scale=4.0), 3)
    root = np.sqrt(2.0)
    np.testing.assert_allclose(
        sizes[:4],
        [[32, 32], [32 * root, 32 / root], [32 / root, 32 * root], [32 * 2 ** (1 / 3)] * 2],
        rtol=1e-6,
    )


def test_centres_lie_in_the_middle_of_their_cells_row_by_row() -> None:
    anchors = level_anchors(_spec(256, 128), 5).reshape(8, 4, 9, 4)
    np.testing.assert_array_equal(anchors[0, :, 0, 0], [16, 48, 80, 112])
    np.testing.assert_array_equal(anchors[:, 2, 5, 1], np.arange(8) * 32 + 16)


def test_m0_at_256_has_12276_anchors() -> None:
    assert all_anchors(_spec()).shape == (12_276, 4)


def test_d0_at_512_has_49104_anchors() -> None:
    assert all_anchors(_spec(512, 512)).shape == (49_104, 4)


def test_p7_of_lite0_shares_the_input_evenly() -> None:
    spec = ModelSpec("m", InputSpec(320, 320), AnchorSpec(scale=3.0), ("a",), (1,))
    assert grid(spec.anchors, 7, 320, 320) == (3, 3, np.float32(320 / 3), np.float32(320 / 3))
    anchors = level_anchors(spec, 7).reshape(3, 3, 9, 4)
    np.testing.assert_allclose(anchors[2, :, 0, 0], [160 / 3, 160, 800 / 3], rtol=1e-6)
    np.testing.assert_allclose(anchors[:, 1, 8, 1], [160 / 3, 160, 800 / 3], rtol=1e-6)
    np.testing.assert_allclose(anchors[0, 0, 0, 2:], [320, 320], rtol=1e-6)
    tall = 320 * 2 ** (2 / 3) * 0.5**0.5, 320 * 2 ** (2 / 3) / 0.5**0.5
    np.testing.assert_allclose(anchors[2, 2, 8, 2:], tall, rtol=1e-6)


def test_each_axis_has_its_own_stride() -> None:
    spec = _spec(320, 500)
    assert grid(spec.anchors, 7, 320, 500) == (3, 4, np.float32(320 / 3), 125.0)
    anchors = level_anchors(spec, 7).reshape(3, 4, 9, 4)
    np.testing.assert_allclose(anchors[1, 3, 0], [437.5, 160, 500, 1280 / 3], rtol=1e-6)


strides = st.integers(1, 16)


@given(strides, strides, st.integers(2, 7), st.floats(0.5, 8))
def test_where_the_stride_divides_the_input_it_is_a_power_of_two(
    rows: int, columns: int, level: int, scale: float
) -> None:
    anchors = AnchorSpec(level, level, scale)
    height, width = rows * 2**level, columns * 2**level
    assert grid(anchors, level, height, width) == (rows, columns, 2**level, 2**level)
    found = level_anchors(ModelSpec("m", InputSpec(height, width), anchors, ("a",), (1,)), level)
    places = found.reshape(rows, columns, 9, 4)
    np.testing.assert_array_equal(places[0, :, 0, 0], (np.arange(columns) + 0.5) * 2**level)
    np.testing.assert_array_equal(places[:, 0, 0, 1], (np.arange(rows) + 0.5) * 2**level)
    np.testing.assert_array_equal(
        places[..., 2:], np.broadcast_to(base_anchors(anchors, level), (rows, columns, 9, 2))
    )


def test_codes_are_ty_tx_th_tw() -> None:
    anchor = np.float32([[50, 40, 20, 10]])  # cx, cy, w, h
    box = np.float32([[50, 35, 70, 55]])  # centre (60, 45), 20 x 20
    np.testing.assert_allclose(
        encode(box, anchor), [[0.5, 0.5, np.log(2.0), 0.0]], rtol=1e-6, atol=1e-7
    )


coordinates = hnp.arrays(np.float32, (5, 4), elements=st.floats(1, 1000, width=32))


@given(coordinates, coordinates)
def test_decode_inverts_encode(corners: np.ndarray, anchors: np.ndarray) -> None:
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    anchors[:, 2:] = np.clip(anchors[:, 2:], 20, None)  # within the clamp of the log sizes
    np.testing.assert_allclose(decode(encode(boxes, anchors), anchors), boxes, rtol=1e-3, atol=0.05)


def test_a_wild_code_gives_a_finite_box() -> None:
    boxes = decode(np.float32([[0, 0, 1e9, 1e9]]), np.float32([[0, 0, 10, 10]]))
    np.testing.assert_allclose(boxes, [[-312.5, -312.5, 312.5, 312.5]], rtol=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),
        ((10, 10, 0, 0), (0, 0, 10, 10), 0.0),
    ],
)
def test_overlaps(first: tuple[float, ...], second: tuple[float, ...], expected: float) -> None:
    assert iou(np.float32([first]), np.float32([second]))[0, 0] == pytest.approx(expected)
