"""The native postprocess against the NumPy reference, and its promises one by one."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import ops, reference
from edgedet.errors import InvalidInputError
from edgedet.ops import postprocessing
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

DEFAULT_ANCHORS = AnchorSpec()
SUPPRESSIONS = ["hard", "soft-gaussian", "soft-linear", "none"]
MAP_TYPES = [np.float32, np.int8, np.uint8, np.int16]
shares = st.one_of(st.sampled_from([0.0, 0.001, 0.25, 0.5, 1.0]), st.floats(0, 1))


def model(
    height: int, width: int, classes: int, anchors: AnchorSpec = DEFAULT_ANCHORS
) -> ModelSpec:
    return ModelSpec(
        name="test",
        input=InputSpec(height, width),
        anchors=anchors,
        labels=tuple(map(str, range(classes))),
        category_ids=tuple(range(classes)),
    )


def head(
    random: np.random.Generator, shape: tuple[int, ...], dtype: Any, spread: float
) -> tuple[np.ndarray, tuple[float, int]]:
    """A random map with many ties, and its quantization; NaN and infinities in some floats."""
    if dtype == np.float32:
        values = (np.rint(random.normal(0, spread, shape) * 8) / 8).astype(np.float32)
        odd = random.random(shape) < 0.02
        values[odd] = random.choice([np.nan, np.inf, -np.inf, 3e38], int(odd.sum()))
        return values, (0.0, 0)
    limits = np.iinfo(dtype)
    zero_point = int(random.integers(limits.min, limits.max, endpoint=True))
    values = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return values, (float(np.float32(4 * spread / (limits.max - limits.min))), zero_point)


def in_chunks_of(size: int) -> Any:
    """Makes the native code take so few candidates at a time; 0 leaves the choice to it."""
    return mock.patch.object(postprocessing, "_CHUNK", size)


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**32), conf=shares, iou=shares, data=st.data())
def test_equals_the_reference(seed: int, conf: float, iou: float, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    min_level = data.draw(st.integers(1, 3), label="min_level")
    anchors = AnchorSpec(
        min_level=min_level,
        max_level=min_level + data.draw(st.integers(0, 2), label="further levels"),
        scale=data.draw(st.sampled_from([1.0, 3.0]), label="scale"),
        octaves=data.draw(st.integers(1, 2), label="octaves"),
        aspect_ratios=data.draw(st.sampled_from([(1.0,), (1.0, 0.5)]), label="ratios"),
    )
    sides = st.integers(1, 6 * 2**min_level)
    height, width = data.draw(sides, label="height"), data.draw(sides, label="width")
    spec = model(height, width, data.draw(st.integers(1, 3), label="classes"), anchors)
    maps: dict[str, list[Any]] = {"class": [], "box": []}
    quantization: dict[str, list[Any]] = {"class": [], "box": []}
    for level in anchors.levels:
        for name, channels in (("class", spec.num_classes), ("box", 4)):
            shape = (*spec.level_size(level), anchors.per_location * channels)
            dtype = data.draw(st.sampled_from(MAP_TYPES), label="dtype")
            values, scale = head(random, shape, dtype, 4.0 if name == "class" else 0.7)
            form = data.draw(st.sampled_from(["plain", "batch", "strided"]), label="form")
            if form == "batch":
                values = values[None]
            elif form == "strided":
                values = np.repeat(values, 2, axis=1)[:, ::2]
            maps[name].append(values)
            quantization[name].append(scale)
    options: dict[str, Any] = {
        "conf": conf,
        "iou": iou,
        "max_det": data.draw(st.sampled_from([0, 1, 10, 10**6]), label="max_det"),
        "nms": data.draw(st.sampled_from(SUPPRESSIONS), label="nms"),
        "agnostic": data.draw(st.booleans(), label="agnostic"),
        "sigma": data.draw(st.sampled_from([0.5, 0.1, 3.0]), label="sigma"),
        "class_quantization": quantization["class"],
        "box_quantization": quantization["box"],
        "ratio": data.draw(st.sampled_from([1.0, 0.4, 1 / 3, 7.5]), label="ratio"),
        "image_size": data.draw(st.sampled_from([None, (9, 14), (1, 1)]), label="image size"),
    }
    expected = reference.postprocess(maps["class"], maps["box"], spec, **options)
    with in_chunks_of(data.draw(st.sampled_from([0, 1, 2, 7, 100]), label="chunk")):
        found = ops.postprocess(maps["class"], maps["box"], spec, **options)
    for array, reference_array, dtype in zip(
        found, expected, (np.float32, np.float32, np.int64), strict=True
    ):
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, reference_array)


def digits_heads(seed: int, dtype: Any) -> tuple[list[Any], list[Any], ModelSpec, dict[str, Any]]:
    """Heads of the size and sparseness of a trained 10-class model at 256 x 256."""
    random = np.random.default_rng(seed)
    spec = model(256, 256, 10)
    class_maps, box_maps = [], []
    for level in spec.anchors.levels:
        shape = spec.level_size(level)
        logits = np.clip(np.rint(random.normal(-90, 18, (1, *shape, 90))), -128, 127)
        codes = np.clip(np.rint(random.normal(0, 15, (1, *shape, 36))), -128, 127)
        if dtype == np.float32:
            class_maps.append((0.06 * (logits + 20)).astype(np.float32))
            box_maps.append((0.02 * codes).astype(np.float32))
        else:
            class_maps.append(logits.astype(dtype))
            box_maps.append(codes.astype(dtype))
    quantization: dict[str, Any] = {
        "class_quantization": [(0.06, -20)] * 5,
        "box_quantization": [(0.02, 0)] * 5,
    }
    return class_maps, box_maps, spec, quantization


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int16])
def test_heads_of_a_real_size_equal_the_reference(dtype: Any) -> None:
    class_maps, box_maps, spec, options = digits_heads(0, dtype)
    options |= {"conf": 0.3, "ratio": 0.4, "image_size": (480, 640)}
    expected = reference.postprocess(class_maps, box_maps, spec, **options)
    found = ops.postprocess(class_maps, box_maps, spec, **options)
    assert len(expected[1]) == 100
    for array, reference_array in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, reference_array)


@pytest.mark.parametrize("nms", SUPPRESSIONS)
@pytest.mark.parametrize("agnostic", [False, True])
def test_other_suppressions_of_a_real_size_equal_the_reference(nms: Any, agnostic: bool) -> None:
    class_maps, box_maps, spec, options = digits_heads(1, np.int8)
    options |= {"conf": 0.25, "iou": 0.3, "nms": nms, "agnostic": agnostic, "max_det": 300}
    expected = reference.postprocess(class_maps, box_maps, spec, **options)
    with in_chunks_of(16):
        found = ops.postprocess(class_maps, box_maps, spec, **options)
    for array, reference_array in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, reference_array)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8, np.int16])
def test_a_low_threshold_gives_the_best_of_a_million_candidates(dtype: Any) -> None:
    random = np.random.default_rng(2)
    spec = model(256, 256, 90)
    class_maps, box_maps = [], []
    limits = (0, 255) if dtype == np.float32 else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    scale = (limits[1] - limits[0]) / 255
    zero_point = round(limits[0] + 220 * scale)
    for level in spec.anchors.levels:
        shape = spec.level_size(level)
        logits = np.clip(random.normal(limits[0] + 150 * scale, 20 * scale, (*shape, 810)), *limits)
        if dtype == np.float32:
            class_maps.append(((np.rint(logits) - 220) / 10).astype(np.float32))
        else:
            class_maps.append(np.rint(logits).astype(dtype))
        box_maps.append(random.normal(0, 0.3, (*shape, 36)).astype(np.float32))
    options: dict[str, Any] = {
        "conf": 0.001,
        "max_det": 5000,
        "nms": "none",
        "class_quantization": [(0.1 / scale, zero_point)] * 5,
    }
    _, scores, class_ids = ops.postprocess(class_maps, box_maps, spec, **options)
    scale32 = np.float32(0.1 / scale)
    logits = np.concatenate([values.reshape(-1) for values in class_maps])
    if dtype != np.float32:
        logits = scale32 * (logits.astype(np.int32) - zero_point).astype(np.float32)
    every = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    assert (every >= 0.001).sum() > 500_000
    best = np.argsort(-every, kind="stable")[:5000]
    np.testing.assert_array_equal(scores, every[best])
    np.testing.assert_array_equal(class_ids, best % 90)


def test_agnostic_lets_classes_suppress_each_other() -> None:
    anchors = AnchorSpec(min_level=3, max_level=3, octaves=1, aspect_ratios=(1.0,))
    spec = model(8, 8, 3, anchors)
    maps = [np.array([[[1.0, 3.0, 2.0]]], np.float32)], [np.zeros((1, 1, 4), np.float32)]
    assert ops.postprocess(*maps, spec)[2].tolist() == [1, 2, 0]
    assert ops.postprocess(*maps, spec, agnostic=True)[2].tolist() == [1]
    assert ops.postprocess(*maps, spec, agnostic=True, nms="none")[2].tolist() == [1, 2, 0]
    _, scores, class_ids = ops.postprocess(
        *maps, spec, conf=0.01, agnostic=True, nms="soft-gaussian"
    )
    assert class_ids.tolist() == [1, 2, 0]
    assert scores[1] < 0.2


def test_soft_suppression_drops_scores_below_conf() -> None:
    anchors = AnchorSpec(min_level=3, max_level=3, octaves=1, aspect_ratios=(1.0, 0.8))
    spec = model(8, 8, 1, anchors)
    maps = [np.array([[[1.0, 0.5]]], np.float32)], [np.zeros((1, 1, 8), np.float32)]
    lowered = ops.postprocess(*maps, spec, conf=0.0, nms="soft-linear")[1]
    assert len(lowered) == 2
    assert 0 < lowered[1] < 0.3
    for conf, count in ((float(lowered[1]), 2), (float(lowered[1]) * 1.01, 1)):
        assert len(ops.postprocess(*maps, spec, conf=conf, nms="soft-linear")[1]) == count


def test_scores_are_sigmoids_within_a_millionth() -> None:
    spec = model(1, 64, 8, AnchorSpec(min_level=0, max_level=0, octaves=1, aspect_ratios=(1.0,)))
    logits = np.linspace(-15, 15, 512, dtype=np.float32)
    codes = np.zeros((1, 64, 4), np.float32)
    _, scores, _ = ops.postprocess(
        [logits.reshape(1, 64, 8)], [codes], spec, conf=0.0, iou=1.0, max_det=512
    )
    expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(scores, expected[::-1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
@pytest.mark.parametrize("conf", [0.0, 0.001, 0.05, 0.25, 0.5, 0.731, 1.0])
def test_a_score_equal_to_conf_stays(dtype: Any, conf: float) -> None:
    limits = np.iinfo(dtype)
    levels = np.arange(limits.min, limits.max + 1, max(1, (limits.max - limits.min) // 255))
    spec = model(
        1, len(levels), 1, AnchorSpec(min_level=0, max_level=0, octaves=1, aspect_ratios=(1.0,))
    )
    logits = levels.astype(dtype).reshape(1, -1, 1)
    codes = np.zeros((1, len(levels), 4), np.float32)
    quantization = [(20 / (limits.max - limits.min), int(levels[100]))]

    def run(threshold: float) -> np.ndarray:
        return ops.postprocess(
            [logits],
            [codes],
            spec,
            conf=threshold,
            iou=1.0,
            max_det=10**6,
            class_quantization=quantization,
        )[1]

    every = run(0.0)
    assert len(every) == len(levels)
    assert len(run(conf)) == (every >= np.float32(conf)).sum()
    for score in every[::37]:
        assert len(run(float(score))) == (every >= score).sum()


def test_ties_go_by_level_row_column_anchor_class() -> None:
    anchors = AnchorSpec(min_level=3, max_level=4, scale=0.1, octaves=2, aspect_ratios=(1.0,))
    spec = model(16, 16, 2, anchors)
    class_maps = [np.zeros((2, 2, 4), np.float32), np.zeros((1, 1, 4), np.float32)]
    box_maps = [np.zeros((2, 2, 8), np.float32), np.zeros((1, 1, 8), np.float32)]
    boxes, _, class_ids = ops.postprocess(class_maps, box_maps, spec, iou=1.0)
    assert class_ids.tolist() == [0, 1] * 10
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    expected = [(4, 4), (12, 4), (4, 12), (12, 12), (8, 8)]
    np.testing.assert_allclose(centres, np.repeat(expected, 4, axis=0), atol=1e-5)
    widths = (boxes[:, 2] - boxes[:, 0]).reshape(-1, 4)
    assert (widths[:, 0] == widths[:, 1]).all()
    assert (widths[:, 2] > widths[:, 1]).all()


def test_maps_are_read_in_place() -> None:
    class_maps, box_maps, spec, options = digits_heads(0, np.int8)
    ops.postprocess(class_maps, box_maps, spec, **options)
    tracemalloc.start()
    ops.postprocess(class_maps, box_maps, spec, conf=0.9, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000


def test_threads_do_not_disturb_each_other() -> None:
    inputs = [digits_heads(seed, np.int8) for seed in range(4)]
    expected = [ops.postprocess(*case[:3], **case[3]) for case in inputs]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(ops.postprocess, *inputs[i % 4][:3], **inputs[i % 4][3]) for i in range(200)
        ]
        for i, job in enumerate(jobs):
            for array, single in zip(job.result(), expected[i % 4], strict=True):
                np.testing.assert_array_equal(array, single)


def small() -> dict[str, Any]:
    anchors = AnchorSpec(min_level=3, max_level=4, octaves=1, aspect_ratios=(1.0,))
    return {
        "spec": model(16, 16, 2, anchors),
        "class_maps": [np.zeros((1, 2, 2, 2), np.int8), np.zeros((1, 1, 1, 2), np.int8)],
        "box_maps": [np.zeros((1, 2, 2, 4), np.int8), np.zeros((1, 1, 1, 4), np.int8)],
        "class_quantization": [(0.1, 0), (0.1, 0)],
        "box_quantization": [(0.1, 0), (0.1, 0)],
    }


def changed(maps: list[np.ndarray], array: Any) -> list[Any]:
    return [maps[0], array]


MAPS, BOX_MAPS = small()["class_maps"], small()["box_maps"]


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("spec", {"spec": None}),
        ("class_maps", {"class_maps": MAPS[:1]}),
        ("class_maps", {"class_maps": None}),
        ("class_maps", {"class_maps": MAPS[0]}),
        (r"class_maps\[1\]", {"class_maps": changed(MAPS, MAPS[1].astype(np.float64))}),
        (r"class_maps\[1\]", {"class_maps": changed(MAPS, MAPS[1].astype(">f4"))}),
        (r"class_maps\[1\]", {"class_maps": changed(MAPS, MAPS[0])}),
        (r"class_maps\[1\]", {"class_maps": changed(MAPS, MAPS[1][0, 0])}),
        (r"class_maps\[1\]", {"class_maps": changed(MAPS, [[0, 0]])}),
        ("box_maps", {"box_maps": [*BOX_MAPS, BOX_MAPS[1]]}),
        (r"box_maps\[1\]", {"box_maps": changed(BOX_MAPS, MAPS[1])}),
        ("class_quantization", {"class_quantization": None}),
        ("class_quantization", {"class_quantization": [(0.1, 0)]}),
        ("class_quantization", {"class_quantization": 0.1}),
        (r"class_quantization\[1\]", {"class_quantization": [(0.1, 0), (0.0, 0)]}),
        (r"class_quantization\[1\]", {"class_quantization": [(0.1, 0), (float("nan"), 0)]}),
        (r"class_quantization\[1\]", {"class_quantization": [(0.1, 0), (0.1, 200)]}),
        (r"class_quantization\[1\]", {"class_quantization": [(0.1, 0), 0.1]}),
        ("box_quantization", {"box_quantization": None}),
        (r"box_quantization\[0\]", {"box_quantization": [(-1.0, 0), (0.1, 0)]}),
        ("conf", {"conf": float("nan")}),
        ("conf", {"conf": -0.01}),
        ("conf", {"conf": 1.01}),
        ("conf", {"conf": None}),
        ("iou", {"iou": 2}),
        ("iou", {"iou": float("inf")}),
        ("max_det", {"max_det": -1}),
        ("nms", {"nms": "soft"}),
        ("nms", {"nms": None}),
        ("nms", {"nms": ["hard"]}),
        ("agnostic", {"agnostic": "yes"}),
        ("agnostic", {"agnostic": 1}),
        ("sigma", {"sigma": 0.0}),
        ("sigma", {"sigma": float("inf")}),
        ("max_det", {"max_det": 2.0}),
        ("ratio", {"ratio": 0.0}),
        ("ratio", {"ratio": float("nan")}),
        ("image_size", {"image_size": (0, 5)}),
        ("image_size", {"image_size": 5}),
        ("image_size", {"image_size": (5, 2**40)}),
        ("spec", {"spec": model(8192, 8192, 100_000, AnchorSpec(min_level=0, max_level=1))}),
    ],
)
def test_bad_arguments_are_named(argument: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.postprocess(**{**small(), **changes})
