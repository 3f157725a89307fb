"""Low precision and rematerialization under JAX: the same learning, in less memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models import preset_spec
from edgedet.training.remat import rematerializes

PROCESS = Path(__file__).with_name("precision_process.py")


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `precision_process.py` found."""
    out = tmp_path_factory.mktemp("precision") / "figures.json"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(PROCESS), str(out)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_learns_as_float32_does(figures: dict[str, Any], precision: str) -> None:
    expected = figures["float32"]["losses"]
    np.testing.assert_allclose(figures[precision]["losses"], expected, rtol=0.02)
    assert expected[-1] < 0.3 * expected[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_all_that_lasts_is_in_float32(figures: dict[str, Any], precision: str) -> None:
    # Weights, statistics, averages, moments, metrics; besides, counters and random states.
    assert figures[precision]["kinds"] == ["float32", "int32", "uint32"]


def test_float16_alone_scales_the_loss(figures: dict[str, Any]) -> None:
    scales = {name: figures[name]["scales"] for name in ("float32", "bfloat16", "float16")}
    assert scales == {"float32": False, "bfloat16": False, "float16": True}


def test_two_accumulated_steps_of_one_batch_are_one_step(figures: dict[str, Any]) -> None:
    assert figures["accumulated"]["updates"] == [4, 4]
    assert figures["accumulated"]["apart"] < 1e-4


def test_a_step_that_overflows_changes_the_scale_only(figures: dict[str, Any]) -> None:
    overflow = figures["overflow"]
    assert overflow["same"]
    assert overflow["scale"] == 2.0**19
    assert 0 < overflow["loss"] < 1e3  # what is told is not scaled


def test_training_goes_on_once_the_scale_fits(figures: dict[str, Any]) -> None:
    overflow = figures["overflow"]
    assert overflow["moved"]
    assert overflow["finite"]
    assert 1 <= overflow["scale_at_last"] < 2.0**19


def test_rematerializing_changes_no_number(figures: dict[str, Any]) -> None:
    # The loss, its gradients, the statistics of the batch and the random states.
    assert figures["rematerialized"]["apart"] < 1e-5


def test_rematerializing_keeps_less(figures: dict[str, Any]) -> None:
    assert figures["rematerialized"]["anew"] < 0.7 * figures["rematerialized"]["kept"]


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX does")
def test_only_jax_rematerializes() -> None:
    spec = preset_spec("efficientdet-d7", ["a"], size=256)
    assert not rematerializes(spec, None)
    with pytest.raises(InvalidInputError, match="choose --backend jax for --remat"):
        rematerializes(spec, True)


@pytest.mark.parametrize(
    ("name", "default"),
    [("efficientdet-d4", False), ("efficientdet-d5", True), ("efficientdet-d7x", True)],
)
def test_large_detectors_rematerialize_by_default(
    monkeypatch: pytest.MonkeyPatch, name: str, default: bool
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    spec = preset_spec(name, ["a"], size=256)
    assert rematerializes(spec, None) is default
    assert rematerializes(spec, True)
    assert not rematerializes(spec, False)
