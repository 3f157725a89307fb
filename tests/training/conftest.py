"""A data set of a few scenes and the smallest network that learns them."""

from __future__ import annotations

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedet.data.dataset import DetectionDataset, load_dataset
from edgedet.data.synth import SynthOptions, generate
from tests.training.small_network import network


@pytest.fixture(scope="session")
def digits_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("digits") / "data"
    generate(directory, SynthOptions(images=8, val=4, size=128, seed=5, min_digit=24, max_digit=80))
    return directory / "data.yaml"


@pytest.fixture(scope="session")
def digits(digits_yaml: Path) -> DetectionDataset:
    return load_dataset(digits_yaml, "train")


@contextlib.contextmanager
def _small_networks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgedet.training.trainer.build", network)
        patch.setattr("edgedet.models.saving.build", network)
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
