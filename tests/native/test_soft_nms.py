"""Native soft-NMS against the NumPy definition, and its rules one by one."""

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
coarse_scores = st.one_of(st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, 2.0, -2.0]), any_float32)
METHODS = ["gaussian", "linear"]


def assert_same(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    for array, reference_array, dtype in zip(found, expected, (np.int64, np.float32), strict=True):
        assert array.dtype == reference_array.dtype == dtype
        np.testing.assert_array_equal(array, reference_array)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_equals_the_reference(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 24))
    boxes = data.draw(hnp.arrays(np.float32, (count, 4), elements=coordinates))
    scores = data.draw(hnp.arrays(np.float32, count, elements=coarse_scores))
    ids = hnp.arrays(np.int64, count, elements=st.sampled_from([0, 1, -7, 2**62]))
    options: dict[str, Any] = {
        "method": data.draw(st.sampled_from(METHODS)),
        "sigma": data.draw(st.one_of(st.sampled_from([0.5, 0.1, 1e-6, 1e6]), st.floats(0.01, 5))),
        "iou_threshold": data.draw(st.sampled_from([0.0, 0.3, 1 / 3, 1.0])),
        "score_threshold": data.draw(st.sampled_from([0.0, 0.001, 0.25, 3.0, 1e300])),
        "class_ids": data.draw(st.one_of(st.none(), ids)),
        "max_detections": data.draw(st.one_of(st.none(), st.integers(0, 10))),
    }
    assert_same(
        ops.soft_nms(boxes, scores, **options), reference.soft_nms(boxes, scores, **options)
    )


def crowd(seed: int, count: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    low = random.uniform(0, spread, (count, 2))
    boxes = np.concatenate([low, low + random.uniform(5, 60, (count, 2))], axis=1)
    scores = random.integers(0, 200, count) / 200
    return boxes.astype(np.float32), scores.astype(np.float32), random.integers(0, 5, count)


@pytest.mark.parametrize("spread", [60, 1000], ids=["clustered", "uniform"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_class", [False, True])
def test_many_boxes_equal_the_reference(spread: float, method: str, per_class: bool) -> None:
    boxes, scores, class_ids = crowd(0, 1200, spread)
    options: dict[str, Any] = {"method": method, "class_ids": class_ids if per_class else None}
    expected = reference.soft_nms(boxes, scores, **options)
    assert 50 < len(expected[0]) < 1200
    assert_same(ops.soft_nms(boxes, scores, **options), expected)


def test_scores_fall_as_the_paper_says() -> None:
    # IoUs: first with second 1/3, second with third 1/3, first with third 0.
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    factor = np.exp(-(1 / 9) / 0.5)
    indices, rescored = ops.soft_nms(boxes, scores)
    assert indices.tolist() == [0, 2, 1]
    np.testing.assert_allclose(rescored, [0.9, 0.7, 0.8 * factor * factor], rtol=1e-6)
    indices, rescored = ops.soft_nms(boxes, scores, method="linear")
    assert indices.tolist() == [0, 2, 1]
    np.testing.assert_allclose(rescored, [0.9, 0.7, 0.8 * (2 / 3) ** 2], rtol=1e-6)


def test_an_iou_equal_to_the_threshold_lowers_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert ops.soft_nms(boxes, scores, method="linear", iou_threshold=0.5)[1][1] == scores[1]
    assert ops.soft_nms(boxes, scores, method="linear", iou_threshold=0.49)[1][1] < scores[1]


def test_a_score_that_falls_below_the_threshold_goes() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    scores = np.array([0.9, 0.8, 0.25], np.float32)
    assert ops.soft_nms(boxes, scores, score_threshold=0.2)[0].tolist() == [0, 2]
    assert ops.soft_nms(boxes, scores, score_threshold=0.25)[0].tolist() == [0, 2]
    assert ops.soft_nms(boxes, scores, score_threshold=0.3)[0].tolist() == [0]
    assert ops.soft_nms(boxes, scores, score_threshold=0.1)[0].tolist() == [0, 2, 1]


def test_a_hard_gaussian_is_nms_of_touching_boxes() -> None:
    boxes, scores, class_ids = crowd(2, 600, 300)
    scores += 1
    soft = ops.soft_nms(boxes, scores, sigma=1e-6, score_threshold=1.0, class_ids=class_ids)
    # IoUs below a thousandth leave such a Gaussian above 0.3.
    kept = set(ops.nms(boxes, scores, 0.0, class_ids=class_ids).tolist())
    assert kept <= set(soft[0].tolist())
    assert len(soft[0]) < 1.1 * len(kept)


def test_a_class_is_rescored_as_if_it_were_alone() -> None:
    boxes, scores, class_ids = crowd(3, 800, 200)
    indices, rescored = ops.soft_nms(boxes, scores, class_ids=class_ids)
    assert (np.diff(rescored) <= 0).all()
    for class_id in range(5):
        members = np.flatnonzero(class_ids == class_id)
        alone, alone_scores = ops.soft_nms(boxes[members], scores[members])
        of_class = class_ids[indices] == class_id
        order = np.lexsort((members[alone], -alone_scores))
        np.testing.assert_array_equal(indices[of_class], members[alone][order])
        np.testing.assert_array_equal(rescored[of_class], alone_scores[order])


def test_takes_two_hundred_thousand_boxes() -> None:
    boxes, scores, class_ids = crowd(1, 200_000, 300)
    indices, rescored = ops.soft_nms(boxes, scores, class_ids=class_ids, max_detections=300)
    assert len(indices) == len(set(indices.tolist())) == 300
    assert (np.diff(rescored) <= 0).all()
    assert (rescored <= scores[indices]).all()


def test_reads_strided_and_unaligned_arrays() -> None:
    boxes, scores, class_ids = crowd(4, 300, 100)
    expected = ops.soft_nms(boxes, scores, class_ids=class_ids)
    unaligned = np.frombuffer(b"x" + boxes.tobytes(), np.uint8)[1:].view(np.float32).reshape(-1, 4)
    assert not unaligned.flags.aligned
    for form in (np.repeat(boxes, 2, axis=1)[:, ::2], unaligned):
        reversed_scores = scores[::-1].copy()[::-1]
        found = ops.soft_nms(form, reversed_scores, class_ids=class_ids.astype(np.uint8))
        assert_same(found, expected)


def test_threads_do_not_disturb_each_other() -> None:
    inputs = [crowd(seed, 300, 150)[:2] for seed in range(4)]
    expected = [ops.soft_nms(*case) for case in inputs]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(ops.soft_nms, *inputs[i % 4]) for i in range(200)]
        for i, job in enumerate(jobs):
            assert_same(job.result(), expected[i % 4])


BOXES, SCORES = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("boxes", {"boxes": BOXES.astype(np.float64)}),
        ("boxes", {"boxes": BOXES[:, :3]}),
        ("scores", {"scores": SCORES[:2]}),
        ("scores", {"scores": None}),
        ("method", {"method": "hard"}),
        ("method", {"method": ["gaussian"]}),
        ("sigma", {"sigma": 0}),
        ("sigma", {"sigma": -0.5}),
        ("sigma", {"sigma": float("nan")}),
        ("sigma", {"sigma": 1e30}),
        ("iou_threshold", {"iou_threshold": 1.1}),
        ("iou_threshold", {"iou_threshold": "0.5"}),
        ("score_threshold", {"score_threshold": -0.1}),
        ("score_threshold", {"score_threshold": None}),
        ("score_threshold", {"score_threshold": float("inf")}),
        ("class_ids", {"class_ids": SCORES}),
        ("class_ids", {"class_ids": np.zeros(2, np.int64)}),
        ("max_detections", {"max_detections": -1}),
        ("max_detections", {"max_detections": 1.5}),
    ],
)
def test_bad_arguments_are_named(argument: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.soft_nms(**{"boxes": BOXES, "scores": SCORES, **changes})
