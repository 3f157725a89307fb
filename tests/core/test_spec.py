"""`ModelSpec`: JSON in and out, and the values it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.errors import InvalidInputError
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

numbers = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-3, 1e6)


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    low = draw(st.integers(0, 12))
    labels = draw(st.lists(st.text(max_size=8), min_size=1, max_size=6))
    return ModelSpec(
        name=draw(st.text(min_size=1, max_size=20)),
        input=InputSpec(
            draw(st.integers(1, 8192)),
            draw(st.integers(1, 8192)),
            mean=draw(st.tuples(numbers, numbers, numbers)),
            std=draw(st.tuples(positive, positive, positive)),
        ),
        anchors=AnchorSpec(
            min_level=low,
            max_level=draw(st.integers(low, 12)),
            scale=draw(positive),
            octaves=draw(st.integers(1, 4)),
            aspect_ratios=tuple(draw(st.lists(positive, min_size=1, max_size=4))),
        ),
        labels=tuple(labels),
        category_ids=tuple(
            draw(
                st.lists(
                    st.integers(-(2**31), 2**31 - 1), min_size=len(labels), max_size=len(labels)
                )
            )
        ),
        activation=draw(st.sampled_from(["swish", "relu6"])),
        provenance=draw(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5))),
    )


@given(specs())
def test_json_gives_back_the_same_spec(spec: ModelSpec) -> None:
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_level_sizes_round_up() -> None:
    spec = ModelSpec("m", InputSpec(320, 256), AnchorSpec(), ("a",), (1,))
    assert [spec.level_size(level) for level in spec.anchors.levels] == [
        (40, 32),
        (20, 16),
        (10, 8),
        (5, 4),
        (3, 2),
    ]


def test_outputs_are_named_by_level() -> None:
    spec = ModelSpec("m", InputSpec(64, 64), AnchorSpec(min_level=3, max_level=4), ("a",), (1,))
    assert spec.class_outputs == ("class_3", "class_4")
    assert spec.box_outputs == ("box_3", "box_4")


def _valid() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(
        ModelSpec("m", InputSpec(64, 64), AnchorSpec(), ("a", "b"), (1, 2)).to_json()
    )
    return values


# (path of the value to change, bad value, what the message must name)
BAD_VALUES = [
    (("format_version",), 2, "format version"),
    (("format_version",), None, "format version"),
    (("name",), "", "name"),
    (("name",), 5, "name"),
    (("labels",), [], "labels"),
    (("labels",), "ab", "labels"),
    (("labels",), ["a", 3], "labels"),
    (("category_ids",), [1], "category_ids"),
    (("category_ids",), [1, "2"], "category_ids"),
    (("category_ids",), [1, True], "category_ids"),
    (("category_ids",), [1, 2**31], "category_ids"),
    (("provenance",), [], "provenance"),
    (("unheard_of",), 1, "unheard_of"),
    (("input",), None, "input"),
    (("input", "height"), 0, "input.height"),
    (("input", "height"), 10**9, "input.height"),
    (("input", "width"), 64.0, "input.width"),
    (("input", "mean"), [1, 2], "input.mean"),
    (("input", "mean"), [1, 2, float("nan")], "input.mean"),
    (("input", "std"), [1, 2, 0], "input.std"),
    (("input", "std"), [1, 2, 10**400], "input.std"),
    (("anchors", "min_level"), -1, "anchors.min_level"),
    (("anchors", "max_level"), 2, "anchors.max_level"),
    (("anchors", "max_level"), 40, "anchors.max_level"),
    (("anchors", "scale"), -3, "anchors.scale"),
    (("anchors", "octaves"), 10**6, "anchors.octaves"),
    (("anchors", "aspect_ratios"), [], "anchors"),
    (("anchors", "aspect_ratios"), [1.0] * 60, "anchors"),
]


@pytest.mark.parametrize(("path", "value", "named"), BAD_VALUES)
def test_a_bad_value_is_named(path: tuple[str, ...], value: object, named: str) -> None:
    values = _valid()
    holder = values
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with pytest.raises(InvalidInputError, match=named):
        ModelSpec.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, b"\xff\xfe\x00"])
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidInputError, match="model spec"):
        ModelSpec.from_json(text)


def test_a_missing_field_is_named() -> None:
    values = _valid()
    del values["labels"]
    with pytest.raises(InvalidInputError, match="lacks labels"):
        ModelSpec.from_json(json.dumps(values))
