"""One small network, one data set, and each slow step of TensorFlow's run once."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.spec import ModelSpec

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

LABELS = ("cat", "dog", "bird")


def write_dataset(directory: Path, pictures: int, labels: tuple[str, ...] = LABELS) -> Path:
    """A data set of smooth coloured pictures of many shapes, one box each; its data.yaml."""
    images = directory / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(7)
    entries, boxes = [], []
    for number in range(pictures):
        width, height = int(rng.integers(60, 220)), int(rng.integers(60, 220))
        grid = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        grid.resize((width, height), Image.Resampling.BICUBIC).save(images / f"{number:03}.png")
        entries.append(
            {"id": number + 1, "file_name": f"{number:03}.png", "width": width, "height": height}
        )
        boxes.append(
            {"id": number + 1, "image_id": number + 1, "category_id": 1 + number % len(labels)}
            | {"bbox": [5, 5, 40, 40], "area": 1600, "iscrowd": 0}
        )
    categories = [{"id": index + 1, "name": label} for index, label in enumerate(labels)]
    truth = {"images": entries, "annotations": boxes, "categories": categories}
    (directory / "train.json").write_text(json.dumps(truth))
    split = "{images: images, annotations: train.json}"
    (directory / "data.yaml").write_text(
        f"path: .\ntrain: {split}\nval: {split}\nnames: {json.dumps(list(labels))}\n"
    )
    return directory / "data.yaml"


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Path]:
    return write_dataset


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), 12)


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    from edgedet.models.presets import preset_spec

    return preset_spec("eff-spinenet-m0", LABELS, size=128, activation="relu6")


@pytest.fixture(scope="session")
def model_file(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained M0 whose normalizations and fusions are those of no fresh network."""
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    from edgedet.models.network import build
    from edgedet.models.saving import save_model

    keras.utils.set_random_seed(0)
    model = build(spec)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            low, high = (0.5, -0.3, -0.3, 0.5), (1.5, 0.3, 0.3, 1.5)
            shape = layer.gamma.shape
            layer.set_weights([rng.uniform(a, b, shape) for a, b in zip(low, high, strict=True)])
        elif layer.name.endswith("_fusion"):
            layer.set_weights([rng.uniform(0.2, 2.0, weight.shape) for weight in layer.weights])
        elif layer.name.endswith("_predictor_pointwise"):
            # The fresh ones are so small that only the bias would come out.
            kernel, bias = layer.get_weights()
            layer.set_weights([rng.normal(0, 0.3, kernel.shape), bias])
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    save_model(model, spec.__class__(**{**vars(spec), "provenance": {"epochs": 3}}), path)
    return path


@pytest.fixture(scope="session", autouse=True)
def _slow_steps_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the export and the conversion of a file gave, for all tests of the session."""
    from edgedet.converters import formats, onnx, openvino, tflite
    from edgedet.converters.saved_model import Exported, Variant

    known: dict[Any, Any] = {}

    def once(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(what: Any, *rest: Any) -> Any:
            origin = what.read_bytes() if isinstance(what, Path) else what.directory
            origin = getattr(rest[0], "directory", origin) if rest else origin
            marks = [mark for mark in rest if isinstance(mark, (str, Variant))]
            key = (step.__module__, step.__name__, origin, *marks)
            if key not in known:
                if step.__name__ == "export":
                    rest = (tmp_path_factory.mktemp("export") / "saved_model", *marks)
                known[key] = step(what, *rest)
            found = known[key]
            # What was made of it is kept here, where a test can replace the step that makes it.
            return dataclasses.replace(found, made={}) if isinstance(found, Exported) else found

        return run

    to_ir = once(openvino.to_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "export", once(formats.export))
        patch.setattr(tflite, "to_flatbuffer", once(tflite.to_flatbuffer))
        # The converter changes the model that it gets.
        patch.setattr(openvino, "to_model", lambda exported: to_ir(exported).clone())
        patch.setattr(onnx, "to_model", once(onnx.to_model))
        yield
