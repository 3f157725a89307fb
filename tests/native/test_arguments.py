"""No argument of `edgedet.ops` can crash it: what can't be used is named in an `InvalidInputError`.

The tests beside this one hold each rule of each function; this one throws at all of them whatever
an array or a number can be.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.stride_tricks import as_strided

from edgedet import ops
from edgedet.errors import InvalidInputError
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec


class Hostile:
    """Answers nothing about itself."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def misaligned(array: np.ndarray) -> np.ndarray:
    """The same elements one byte off the boundary that their type asks for."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype) if array.itemsize == 1 else None
    if view is None:
        view = np.frombuffer(memory.data, array.dtype, array.size, offset=1)
    view = view.reshape(array.shape)
    view[...] = array
    return view


def endless(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of any size whose elements are all the same few bytes."""
    return as_strided(np.zeros(1, dtype), shape, (0,) * len(shape))


SPEC = ModelSpec(
    name="test",
    input=InputSpec(16, 24),
    anchors=AnchorSpec(min_level=3, max_level=4, octaves=1, aspect_ratios=(1.0, 2.0)),
    labels=("a", "b", "c"),
    category_ids=(0, 1, 2),
)
RANDOM = np.random.default_rng(0)
CORNERS = RANDOM.uniform(0, 50, (7, 2)).astype(np.float32)
BOXES = np.concatenate([CORNERS, CORNERS + 20], axis=1)
SCORES = RANDOM.uniform(0, 1, 7).astype(np.float32)
CLASS_IDS = RANDOM.integers(0, 3, 7)
IMAGE = RANDOM.integers(0, 256, (9, 13, 3), dtype=np.uint8)
CLASS_MAPS = [
    RANDOM.integers(-128, 128, (1, *SPEC.level_size(level), 6)).astype(np.int8)
    for level in SPEC.anchors.levels
]
BOX_MAPS = [
    RANDOM.integers(-(2**15), 2**15, (*SPEC.level_size(level), 8)).astype(np.int16)
    for level in SPEC.anchors.levels
]
FUSED = RANDOM.integers(-128, 128, (8, 12, 5)).astype(np.int8)

# Every public function with arguments that it takes.
CALLS: dict[str, dict[str, Any]] = {
    "decode": {"codes": BOXES, "anchors": BOXES},
    "nms": {
        "boxes": BOXES,
        "scores": SCORES,
        "iou_threshold": 0.5,
        "class_ids": CLASS_IDS,
        "score_threshold": 0.1,
        "max_detections": 5,
    },
    "soft_nms": {
        "boxes": BOXES,
        "scores": SCORES,
        "method": "linear",
        "sigma": 0.4,
        "iou_threshold": 0.5,
        "score_threshold": 0.1,
        "class_ids": CLASS_IDS,
        "max_detections": 5,
    },
    "letterbox": {
        "image": IMAGE,
        "size": (8, 8),
        "mean": (120, 110, 100),
        "std": (60, 61, 62),
        "dtype": np.int8,
        "scale": 0.02,
        "zero_point": 3,
        "out": np.zeros((8, 8, 3), np.int8),
        "format": "bgr",
        "rotation": 90,
        "mirror": True,
    },
    "letterbox_yuv": {
        "y": IMAGE[..., 0],
        "u": IMAGE[:5, :7, 1],
        "v": IMAGE[:5, :7, 2],
        "size": (8, 8),
        "mean": (120, 110, 100),
        "std": (60, 61, 62),
        "dtype": np.uint8,
        "scale": 0.02,
        "zero_point": 3,
        "out": np.zeros((1, 8, 8, 3), np.uint8),
        "yuv": "bt601-limited",
        "rotation": 180,
        "mirror": False,
    },
    "nv21_planes": {"buffer": np.arange(7 * 9 + 2 * 4 * 5, dtype=np.uint8), "size": (7, 9)},
    "postprocess": {
        "class_maps": CLASS_MAPS,
        "box_maps": BOX_MAPS,
        "spec": SPEC,
        "conf": 0.1,
        "iou": 0.5,
        "max_det": 10,
        "class_quantization": [(0.1, 3), (0.2, -3)],
        "box_quantization": [(0.1, 3), (0.2, -3)],
        "ratio": 0.5,
        "image_size": (30, 40),
        "nms": "soft-gaussian",
        "agnostic": True,
        "sigma": 0.3,
    },
    "weighted_fusion": {
        "inputs": [FUSED[:4, :6], FUSED[None, :2, :3], FUSED],
        "weights": [0.5, 1.0, 0.25],
        "epsilon": 1e-3,
        "activation": "relu6",
        "quantization": [(0.1, 3), (0.2, -3), (0.3, 0)],
        "out_quantization": (0.2, 5),
    },
}
ARGUMENTS = [(function, name) for function, arguments in CALLS.items() for name in arguments]


def test_every_public_function_and_argument_is_tried() -> None:
    functions = {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}
    assert set(CALLS) == functions - {"isa"}
    for name, arguments in CALLS.items():
        assert set(arguments) == set(inspect.signature(getattr(ops, name)).parameters)
        getattr(ops, name)(**arguments)


def call(function: str, changes: dict[str, Any]) -> str | None:
    """The name at the head of the error, or None after a success; any other exception gets out."""
    arguments = {**CALLS[function], **changes}
    if isinstance(arguments.get("out"), np.ndarray) and "out" not in changes:
        arguments["out"] = arguments["out"].copy()
    try:
        getattr(ops, function)(**arguments)
    except InvalidInputError as error:
        sentence = str(error)
        assert len(sentence) < 300
        assert re.fullmatch(r".+\.", sentence)
        return re.split(r"\W", sentence, maxsplit=1)[0]
    return None


def named_or_taken(function: str, changes: dict[str, Any]) -> None:
    name = call(function, changes)
    assert name is None or name in CALLS[function]


numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**31, -(2**31) - 1, 2**32, 2**63, 2**64, 10**400, -(10**400)]),
    st.floats(),
    st.sampled_from(
        [np.float16(0.5), np.float32("nan"), np.longdouble("1e4000"), np.uint64(2**63)]
    ),
    st.booleans(),
    st.sampled_from([np.True_, 1j, np.complex64(1)]),
)
strangers = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(["f4, i4", "(2,)f4", "O", ">f4", "int8", "gaussian", "rgb", {}, {"names": 3}]),
    st.sampled_from([np.float32, np.int16, np.dtype("O"), np.dtype(">f4"), object, int, Ellipsis]),
    st.just(memoryview(b"abcd")),
    st.just(SPEC),
)
any_dtype = st.one_of(
    st.sampled_from(["f4", ">f4", "f8", "i1", "u1", "i2", ">i2", "i8", "u8", "?", "c8", "O", "S3"]),
    hnp.scalar_dtypes(),
    hnp.array_dtypes(),
)
sides = st.sampled_from([0, 1, 2, 3, 4, 6, 7, 8, 9, 13])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(any_dtype))
    shape = tuple(draw(st.lists(sides, max_size=4)))
    array = np.zeros(shape, dtype) if draw(st.booleans()) else np.ones(shape, np.int8).view()
    return draw(st.sampled_from([array, array.T, array[..., ::-1] if array.ndim else array]))


@st.composite
def vast(draw: st.DrawFn) -> np.ndarray:
    """2**31 elements and more, in next to no memory."""
    side = st.sampled_from([2**29, 2**31, 2**31 + 1, 2**32, 2**33])
    shape = draw(
        st.one_of(
            side.map(lambda rows: (rows,)),
            side.map(lambda rows: (rows, 4)),
            side.map(lambda rows: (rows, 1, 3)),
            side.map(lambda rows: (1, rows, 3)),
            side.map(lambda rows: (1, 2, rows, 6)),
            st.just((2**20, 2**20, 2**19)),
        )
    )
    return endless(shape, draw(st.sampled_from(["f4", "i1", "u1", "i2", "i8"])))


anything = st.one_of(numbers, strangers, arrays(), vast())
values = st.one_of(
    anything,
    st.lists(anything, max_size=3),
    st.tuples(anything, anything),
    st.lists(st.tuples(anything, anything), min_size=2, max_size=2),
)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(ARGUMENTS), values)
@example(("letterbox", "mean"), np.array(1.0))
@example(("letterbox", "std"), endless((2**32,), np.float32))
@example(("letterbox", "dtype"), {"names": 3})
@example(("nms", "boxes"), endless((2**29, 4), np.float32))
def test_any_value_is_taken_or_named(place: tuple[str, str], value: Any) -> None:
    function, name = place
    named_or_taken(function, {name: value})


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(CALLS)), st.data())
def test_several_odd_values_at_once_are_taken_or_named(function: str, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(CALLS[function]))
    changes = data.draw(st.dictionaries(names, values, min_size=2, max_size=4))
    named_or_taken(function, changes)


# More digits than Python prints.
UNPRINTABLE = 10**5000


@pytest.mark.parametrize(("function", "name"), ARGUMENTS)
@pytest.mark.parametrize(
    "value", [Hostile(), UNPRINTABLE, -UNPRINTABLE], ids=["object", "integer", "negative integer"]
)
def test_what_has_no_text_is_named(function: str, name: str, value: Any) -> None:
    for form in (value, [value], (value, value), (value,) * 3, [(value, 0)] * 2):
        assert call(function, {name: form}) == name


def arrays_of(value: Any) -> list[np.ndarray]:
    """The arrays that an argument is or holds."""
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, np.ndarray)]


def replaced(value: Any, view: Callable[[np.ndarray], np.ndarray]) -> Any:
    return [view(array) for array in value] if isinstance(value, list) else view(value)


HOLD_ARRAYS = [place for place in ARGUMENTS if arrays_of(CALLS[place[0]][place[1]])]


@pytest.mark.parametrize(("function", "name"), HOLD_ARRAYS)
@pytest.mark.parametrize("rows", [2**31, 2**31 + 1, 2**32, 2**40])
def test_two_thousand_million_elements_are_named(function: str, name: str, rows: int) -> None:
    value = CALLS[function][name]
    vast = replaced(value, lambda array: endless((rows, *array.shape[1:]), array.dtype))
    assert call(function, {name: vast}) == name


@pytest.mark.parametrize(("function", "name"), HOLD_ARRAYS)
@pytest.mark.parametrize(
    "view",
    [
        misaligned,
        lambda array: np.asfortranarray(array),
        lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
        lambda array: array[::-1].copy()[::-1],
        lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    ],
    ids=["misaligned", "fortran", "strided", "reversed", "read-only"],
)
def test_however_an_array_lies_the_result_is_the_same(function: str, name: str, view: Any) -> None:
    arguments = CALLS[function]
    odd = replaced(arguments[name], view)
    # What is written in place or viewed must lie as it is written or viewed.
    if name == "out":
        assert call(function, {name: odd}) == (None if odd.flags.carray else name)
        return
    if name == "buffer" and not odd.flags.c_contiguous:
        assert call(function, {name: odd}) == name
        return
    if "out" in arguments:
        arguments = {**arguments, "out": None}
    expected = getattr(ops, function)(**arguments)
    found = getattr(ops, function)(**{**arguments, name: odd})
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    for array, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("start", [409, 599, 600, 601, 950])
def test_out_that_overlaps_the_image_is_named(start: int) -> None:
    memory = np.zeros(2000, np.uint8)
    image = memory[600:951].reshape(9, 13, 3)
    out = memory[start : start + 192].reshape(8, 8, 3)
    changes = {"image": image, "dtype": np.uint8, "out": out}
    assert call("letterbox", changes) == "out"
