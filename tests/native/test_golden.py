"""The golden vectors: that they are what their script makes, and what `edgedet.ops` returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import ops
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

GOLDEN = Path(__file__).parent / "golden"
CASES: list[dict[str, Any]] = json.loads((GOLDEN / "golden.json").read_text())
BYTES = (GOLDEN / "golden.bin").read_bytes()


def array(place: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(place["dtype"]).newbyteorder("<")
    count = int(np.prod(place["shape"]))
    values = np.frombuffer(BYTES, dtype, count, place["offset"])
    return values.reshape(place["shape"]).astype(place["dtype"])


def argument(value: Any) -> Any:
    return [array(place) for place in value] if isinstance(value, list) else array(value)


def model(spec: dict[str, Any]) -> ModelSpec:
    return ModelSpec(
        name="golden",
        input=InputSpec(spec["height"], spec["width"]),
        anchors=AnchorSpec(
            spec["min_level"],
            spec["max_level"],
            spec["scale"],
            spec["octaves"],
            tuple(spec["aspect_ratios"]),
        ),
        labels=tuple(map(str, range(spec["classes"]))),
        category_ids=tuple(range(spec["classes"])),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_ops_return_the_golden_arrays(case: dict[str, Any]) -> None:
    arguments = {name: argument(value) for name, value in case["inputs"].items()}
    if "spec" in case:
        arguments["spec"] = model(case["spec"])
    found = getattr(ops, case["function"])(**arguments, **case["options"])
    results = found if isinstance(found, tuple) else (found,)
    for result, place in zip(results, case["outputs"].values(), strict=True):
        expected = array(place)
        values = np.asarray(result)
        assert (values.dtype, values.shape) == (expected.dtype, expected.shape)
        if "steps" not in case:
            np.testing.assert_array_equal(values, expected)
        elif values.dtype == np.float32:
            np.testing.assert_array_max_ulp(values, expected, case["steps"])
        else:
            np.testing.assert_allclose(values, expected, rtol=0, atol=case["steps"])


def test_every_function_has_golden_vectors() -> None:
    untested = {"isa", "nv21_planes"}
    functions = {name for name in ops.__all__ if name.islower()} - untested
    assert {case["function"] for case in CASES} == functions


def test_the_files_are_what_the_script_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GOLDEN / "make_golden.py", tmp_path], check=True)
    for name in ("golden.json", "golden.bin"):
        assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()
