"""`edgedet train --qat`: it goes on with a trained file, resumes exactly, and refuses in words."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.data.dataset import DetectionDataset
from edgedet.models import load_model, preset_spec
from edgedet.spec import ModelSpec
from edgedet.training import Execution, TrainingOptions, train
from edgedet.training.trainer import prepared

Command = Callable[..., Any]

OPTIONS = TrainingOptions(epochs=2, batch_size=4, learning_rate=1e-3, quantization_aware=True)


def _spec(dataset: DetectionDataset) -> ModelSpec:
    return preset_spec(
        "eff-spinenet-m0",
        dataset.labels,
        dataset.category_ids,
        size=128,
        activation="relu6",
        anchor_scale=1.5,
    )


@pytest.fixture(scope="module")
def trained(
    small: None, digits: DetectionDataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    plain = dataclasses.replace(OPTIONS, epochs=1, quantization_aware=False)
    return train(_spec(digits), digits, tmp_path_factory.mktemp("plain"), plain)


def _state(directory: Path) -> dict[str, np.ndarray]:
    with np.load(directory / "state.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "meta"}


def test_a_stopped_run_ends_as_the_unbroken_one(
    trained: Path, digits: DetectionDataset, tmp_path: Path
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    spec = _spec(digits)
    train(spec, digits, whole, OPTIONS, weights=trained)
    train(spec, digits, stopped, OPTIONS, weights=trained, until=1)
    train(spec, digits, stopped, OPTIONS, resume=True)

    expected, found = _state(whole), _state(stopped)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)


def test_normalizations_stay_and_weights_move(
    trained: Path, digits: DetectionDataset, tmp_path: Path
) -> None:
    best = train(_spec(digits), digits, tmp_path, OPTIONS, weights=trained)
    before, after = (load_model(path)[0] for path in (trained, best))
    moved = {
        old.path
        for old, new in zip(before.weights, after.weights, strict=True)
        if not np.array_equal(np.asarray(old), np.asarray(new))
    }
    assert {"conv_3/kernel", "conv_3_bn/gamma", "conv_3_bn/beta", "class_3/kernel"} <= moved
    assert not [path for path in moved if path.endswith(("moving_mean", "moving_variance"))]


def test_the_step_rounds(trained: Path, digits: DetectionDataset) -> None:
    learner = prepared(_spec(digits), OPTIONS, Execution(), 2, batch_size=4, weights=trained)
    assert learner.fake_quantized is not None
    images = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), np.uint8)
    learner.fake_quantized.calibrate([learner.normalized(images)])
    logits = np.asarray(learner(images, training=True)["class_3"])
    assert len(np.unique(logits)) <= 256
    assert len(np.unique(np.asarray(learner.network(learner.normalized(images))["class_3"]))) > 1000


def test_the_command_takes_everything_from_the_file(
    trained: Path, edgedet: Command, digits_yaml: Path, tmp_path: Path
) -> None:
    words = ["train", "--qat", "--weights", trained, "--data", digits_yaml, "--epochs", 1]
    code, out, err = edgedet(*words, "--batch", 4, "--project", tmp_path, "--json")
    assert code == 0, err
    _, spec = load_model(json.loads(out)["best"])
    assert (spec.input.width, spec.activation, spec.anchors.scale) == (128, "relu6", 1.5)
    options = spec.provenance["training"]
    assert options["quantization_aware"] is True
    assert options["learning_rate"] == 1e-4
    assert zipfile.is_zipfile(json.loads(out)["last"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--qat goes on with a trained model: add --weights"),
        (["--weights", "gone.keras"], "gone.keras"),
        (["--weights", "FILE", "--precision", "bfloat16"], "computes in float32"),
        (["--weights", "FILE", "--set", "quantization_aware=3"], "true or false"),
    ],
)
def test_what_it_needs_is_said(
    trained: Path, edgedet: Command, digits_yaml: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    given = [trained if word == "FILE" else word for word in words]
    code, _, err = edgedet("train", "--qat", "--data", digits_yaml, *given, "--project", tmp_path)
    assert code == 2
    assert said in err
    assert list(tmp_path.iterdir()) == []
