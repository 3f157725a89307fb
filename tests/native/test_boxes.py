"""Native box decoding and NMS against the NumPy reference, and NMS's rules one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgedet import ops, reference
from edgedet.errors import InvalidInputError

any_float32 = st.floats(width=32)
# A coarse grid makes equal boxes, equal scores, touching boxes and empty boxes common.
coordinates = st.one_of(st.integers(-4, 12).map(float), any_float32)
coarse_scores = st.one_of(st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, -2.0]), any_float32)


@st.composite
def candidates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(0, 40))
    boxes = draw(hnp.arrays(np.float32, (count, 4), elements=coordinates))
    scores = draw(hnp.arrays(np.float32, count, elements=coarse_scores))
    class_ids = draw(hnp.arrays(np.int64, count, elements=st.sampled_from([0, 1, -7, 2**62])))
    return boxes, scores, class_ids


@settings(max_examples=200, deadline=None)
@given(
    candidates(),
    st.one_of(st.sampled_from([0.0, 0.5, 1 / 3, 1.0]), st.floats(0, 1)),
    st.booleans(),
    st.one_of(st.none(), coarse_scores.filter(np.isfinite)),
    st.one_of(st.none(), st.integers(0, 10)),
)
def test_nms_equals_the_reference(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
    iou_threshold: float,
    per_class: bool,
    score_threshold: float | None,
    max_detections: int | None,
) -> None:
    boxes, scores, class_ids = drawn
    options: dict[str, Any] = {
        "class_ids": class_ids if per_class else None,
        "score_threshold": score_threshold,
        "max_detections": max_detections,
    }
    kept = ops.nms(boxes, scores, iou_threshold, **options)
    assert kept.dtype == np.int64
    np.testing.assert_array_equal(kept, reference.nms(boxes, scores, iou_threshold, **options))


def crowd(seed: int, count: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    low = random.uniform(0, spread, (count, 2))
    boxes = np.concatenate([low, low + random.uniform(5, 60, (count, 2))], axis=1)
    scores = random.integers(0, 200, count) / 200
    return boxes.astype(np.float32), scores.astype(np.float32), random.integers(0, 5, count)


@pytest.mark.parametrize("spread", [60, 1000], ids=["clustered", "uniform"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("per_class", [False, True])
def test_nms_of_many_equals_the_reference(spread: float, threshold: float, per_class: bool) -> None:
    boxes, scores, class_ids = crowd(0, 1500, spread)
    ids = class_ids if per_class else None
    kept = ops.nms(boxes, scores, threshold, class_ids=ids)
    np.testing.assert_array_equal(kept, reference.nms(boxes, scores, threshold, class_ids=ids))
    assert 1 <= len(kept) <= 1500


def test_nms_takes_two_hundred_thousand_boxes() -> None:
    boxes, scores, class_ids = crowd(1, 200_000, 300)
    kept = ops.nms(boxes, scores, 0.2, class_ids=class_ids, max_detections=300)
    assert len(kept) == len(set(kept.tolist())) == 300
    assert (np.diff(scores[kept]) <= 0).all()


def test_nms_per_class_is_nms_of_each_class() -> None:
    boxes, scores, class_ids = crowd(2, 800, 200)
    together = ops.nms(boxes, scores, 0.4, class_ids=class_ids)
    apart: list[int] = []
    for class_id in range(5):
        members = np.flatnonzero(class_ids == class_id)
        apart += members[ops.nms(boxes[members], scores[members], 0.4)].tolist()
    assert sorted(together.tolist()) == sorted(apart)


def test_as_many_classes_as_boxes_suppress_nothing() -> None:
    boxes, scores, _ = crowd(5, 3000, 1)
    ids = np.random.default_rng(5).permutation(3000) * 7919 - 10**7
    assert len(ops.nms(boxes, scores, 0.1)) < 100
    assert len(ops.nms(boxes, scores, 0.1, class_ids=ids)) == 3000


def test_nms_reads_strided_arrays_and_any_integer_classes() -> None:
    boxes, scores, class_ids = crowd(3, 300, 100)
    expected = ops.nms(boxes, scores, 0.5, class_ids=class_ids)
    strided = np.repeat(boxes, 2, axis=1)[:, ::2]
    reversed_scores = scores[::-1].copy()[::-1]
    for dtype in (np.uint8, np.int32, np.uint64):
        kept = ops.nms(strided, reversed_scores, 0.5, class_ids=class_ids.astype(dtype))
        np.testing.assert_array_equal(kept, expected)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 30), st.data())
def test_decode_equals_the_reference(count: int, data: st.DataObject) -> None:
    codes = data.draw(hnp.arrays(np.float32, (count, 4), elements=any_float32))
    sizes = st.floats(-1e6, 1e6, width=32)
    anchors = data.draw(hnp.arrays(np.float32, (count, 4), elements=sizes))
    with np.errstate(all="ignore"):
        expected = reference.decode(codes, anchors)
    np.testing.assert_array_equal(ops.decode(codes, anchors), expected)


def test_decode_is_within_a_millionth_of_float32_exponentials() -> None:
    random = np.random.default_rng(4)
    codes = random.normal(0, 2, (5000, 4)).astype(np.float32)
    anchors = np.tile(np.array([[0, 0, 1, 1]], np.float32), (5000, 1))
    boxes = ops.decode(codes, anchors)
    sizes = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    expected = np.exp(np.minimum(codes[:, 3:1:-1].astype(np.float64), np.log(1000 / 16)))
    np.testing.assert_allclose(sizes, expected, rtol=1e-6, atol=1e-6)


def test_threads_do_not_disturb_each_other() -> None:
    inputs = [crowd(seed, 400, 150) for seed in range(8)]
    expected = [ops.nms(boxes, scores, 0.5, class_ids=ids) for boxes, scores, ids in inputs]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(ops.nms, *inputs[i % 8][:2], 0.5, class_ids=inputs[i % 8][2])
            for i in range(400)
        ]
        for i, job in enumerate(jobs):
            np.testing.assert_array_equal(job.result(), expected[i % 8])


BOXES, SCORES = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("boxes", {"boxes": BOXES.astype(np.float64)}),
        ("boxes", {"boxes": BOXES.astype(">f4")}),
        ("boxes", {"boxes": BOXES[:, :3]}),
        ("boxes", {"boxes": BOXES[0]}),
        ("boxes", {"boxes": [[0.0, 0.0, 1.0, 1.0]]}),
        ("boxes", {"boxes": np.broadcast_to(BOXES[:1], (2**32, 4))}),
        ("scores", {"scores": SCORES[:2]}),
        ("scores", {"scores": SCORES[:, None]}),
        ("scores", {"scores": SCORES.astype(np.int64)}),
        ("scores", {"scores": None}),
        ("iou_threshold", {"iou_threshold": -0.1}),
        ("iou_threshold", {"iou_threshold": 1.1}),
        ("iou_threshold", {"iou_threshold": float("nan")}),
        ("iou_threshold", {"iou_threshold": "0.5"}),
        ("iou_threshold", {"iou_threshold": 10**400}),
        ("iou_threshold", {"iou_threshold": True}),
        ("class_ids", {"class_ids": SCORES}),
        ("class_ids", {"class_ids": np.zeros(2, np.int64)}),
        ("class_ids", {"class_ids": np.zeros((3, 1), np.int64)}),
        ("class_ids", {"class_ids": [0, 1, 2]}),
        ("score_threshold", {"score_threshold": float("nan")}),
        ("score_threshold", {"score_threshold": "high"}),
        ("max_detections", {"max_detections": -1}),
        ("max_detections", {"max_detections": 2**63}),
        ("max_detections", {"max_detections": 1.5}),
    ],
)
def test_bad_nms_arguments_are_named(argument: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"boxes": BOXES, "scores": SCORES, "iou_threshold": 0.5}
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.nms(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("argument", "codes", "anchors"),
    [
        ("codes", BOXES.astype(np.float64), BOXES),
        ("codes", BOXES[:, :3], BOXES),
        ("codes", np.float32(1), BOXES),
        ("anchors", BOXES, BOXES[:2]),
        ("anchors", BOXES, BOXES.astype(np.int32)),
        ("anchors", BOXES, None),
    ],
)
def test_bad_decode_arguments_are_named(argument: str, codes: Any, anchors: Any) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.decode(codes, anchors)
