"""A data set of a few scenes and the smallest network that learns them."""

from __future__ import annotations

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

from edgedet.data.dataset import DetectionDataset, load_dataset
from edgedet.data.synth import SynthOptions, generate
from edgedet.models.layers import StochasticDepth
from edgedet.spec import ModelSpec


@pytest.fixture(scope="session")
def digits_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("digits") / "data"
    generate(directory, SynthOptions(images=8, val=4, size=128, seed=5, min_digit=24, max_digit=80))
    return directory / "data.yaml"


@pytest.fixture(scope="session")
def digits(digits_yaml: Path) -> DetectionDataset:
    return load_dataset(digits_yaml, "train")


def _small_network(
    spec: ModelSpec,
    *,
    batch_size: int | None = None,
    drop_rate: float | None = None,
    drop_block: float = 0.0,
) -> keras.Model:
    """Raw heads from one strided convolution per level, with all that has a state: normalization
    and a random layer. It compiles in a second, and the loop knows no difference.
    """
    image = keras.Input((spec.input.height, spec.input.width, 3), batch_size=batch_size)
    x = keras.layers.AveragePooling2D(8)(image)
    outputs = {}
    for level in spec.anchors.levels:
        stride = 1 if level == 3 else 2
        x = keras.layers.Conv2D(8, 3, padding="same", strides=stride, name=f"conv_{level}")(x)
        x = keras.layers.BatchNormalization(name=f"conv_{level}_bn")(x)
        x = StochasticDepth(0.1, name=f"drop_{level}")(x)
        for kind, count in (("class", spec.num_classes), ("box", 4)):
            width = spec.anchors.per_location * count
            outputs[f"{kind}_{level}"] = keras.layers.Conv2D(width, 1, name=f"{kind}_{level}")(x)
    return keras.Model(image, outputs)


@contextlib.contextmanager
def _small_networks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgedet.training.trainer.build", _small_network)
        patch.setattr("edgedet.models.saving.build", _small_network)
        yield


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """The small network for every test of a module."""
    with _small_networks():
        yield


@pytest.fixture
def small_here() -> Iterator[None]:
    """The small network for one test."""
    with _small_networks():
        yield
