"""`edgedet.ops` in many threads: the lock released, no state shared, arrays held and let go."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from edgedet import ops
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

SPEC = ModelSpec(
    name="test",
    input=InputSpec(256, 256),
    anchors=AnchorSpec(min_level=3, max_level=5),
    labels=tuple("abcdef"),
    category_ids=tuple(range(6)),
)


def make_calls() -> dict[str, dict[str, Any]]:
    """Every function with inputs that keep it busy for some hundred microseconds at least."""
    random = np.random.default_rng(0)
    low = random.uniform(0, 400, (3000, 2)).astype(np.float32)
    boxes = np.concatenate([low, low + 30], axis=1)
    scores = random.uniform(0, 1, 3000).astype(np.float32)
    image = random.integers(0, 256, (720, 960, 3), dtype=np.uint8)
    shapes = [SPEC.level_size(level) for level in SPEC.anchors.levels]
    anchors = SPEC.anchors.per_location
    return {
        "decode": {
            "codes": random.normal(0, 1, (60_000, 4)).astype(np.float32),
            "anchors": random.uniform(1, 99, (60_000, 4)).astype(np.float32),
        },
        "nms": {"boxes": boxes, "scores": scores, "iou_threshold": 0.3},
        "soft_nms": {"boxes": boxes[:1500], "scores": scores[:1500]},
        "letterbox": {"image": image, "size": (384, 384)},
        "letterbox_yuv": {
            "y": image[..., 0],
            "u": image[::2, ::2, 1],
            "v": image[::2, ::2, 2],
            "size": (384, 384),
            "dtype": np.int8,
            "rotation": 90,
        },
        "postprocess": {
            "class_maps": [
                random.normal(-2, 1, (*shape, anchors * 6)).astype(np.float32) for shape in shapes
            ],
            "box_maps": [
                random.normal(0, 1, (*shape, anchors * 4)).astype(np.float32) for shape in shapes
            ],
            "spec": SPEC,
            "conf": 0.3,
            "max_det": 3000,
        },
        "weighted_fusion": {
            "inputs": [
                random.normal(0, 1, (side, side, 64)).astype(np.float32) for side in (64, 32, 128)
            ],
            "weights": [0.3, 0.6, 0.1],
            "activation": "swish",
        },
    }


CALLS = make_calls()


def test_every_native_function_is_tried() -> None:
    functions = {name for name in ops.__all__ if name.islower()}
    assert set(CALLS) == functions - {"isa", "nv21_planes"}


def run(name: str) -> tuple[Any, ...]:
    result = getattr(ops, name)(**CALLS[name])
    return result if isinstance(result, tuple) else (result,)


def test_all_functions_at_once_give_what_each_gives_alone() -> None:
    expected = {name: run(name) for name in CALLS}
    names = sorted(CALLS) * 12
    with ThreadPoolExecutor(8) as pool:
        for name, results in zip(names, pool.map(run, names), strict=True):
            for result, alone in zip(results, expected[name], strict=True):
                np.testing.assert_array_equal(result, alone)


@pytest.fixture
def threads_never_interrupted() -> Iterator[None]:
    """Python takes the lock from no thread: another one runs only where it is given up."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("threads_never_interrupted")
@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_interpreter_lock_is_released(name: str) -> None:
    function, arguments = getattr(ops, name), CALLS[name]
    # A busy machine may not wake the other thread within one call.
    for _ in range(300):
        steps: list[str] = []
        begin, end = threading.Event(), threading.Event()

        def other(steps: list[str] = steps, begin: Any = begin, end: Any = end) -> None:
            begin.wait()
            steps.append("other thread")
            end.set()

        thread = threading.Thread(target=other)
        thread.start()
        begin.set()
        function(**arguments)
        steps.append("returned")
        end.wait()
        thread.join()
        if steps[0] == "other thread":
            return
    pytest.fail(f"{name} never let another thread run")


@pytest.mark.parametrize("name", sorted(CALLS))
def test_arrays_are_let_go(name: str) -> None:
    arguments = make_calls()[name]
    arrays = [
        weakref.ref(array)
        for value in arguments.values()
        for array in (value if isinstance(value, list) else [value])
        if isinstance(array, np.ndarray)
    ]
    result = getattr(ops, name)(**arguments)
    del arguments
    assert arrays
    assert [array() for array in arrays] == [None] * len(arrays)
    del result


@pytest.mark.parametrize("name", ["postprocess", "weighted_fusion"])
def test_lists_that_are_emptied_meanwhile_do_no_harm(name: str) -> None:
    expected = run(name)
    for _ in range(5):
        arguments = make_calls()[name]
        lists = [value for value in arguments.values() if isinstance(value, list)]
        stop = threading.Event()

        def empty(lists: list[Any] = lists, stop: threading.Event = stop) -> None:
            stop.wait()
            for entries in lists:
                entries.clear()
            np.full(4_000_000, np.nan, np.float32)  # into the memory that was theirs

        thread = threading.Thread(target=empty)
        thread.start()
        # The lock changes hands inside the call, after the arguments have been checked.
        sys.setswitchinterval(1000)
        try:
            stop.set()
            found = getattr(ops, name)(**arguments)
        finally:
            sys.setswitchinterval(0.005)
        thread.join()
        results = found if isinstance(found, tuple) else (found,)
        for result, alone in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, alone)
