"""A data set of a few scenes and the smallest network that learns them."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import pytest

from edgedet.data.dataset import DetectionDataset, load_dataset
from edgedet.data.synth import SynthOptions, generate


@pytest.fixture(scope="session")
def digits_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("digits") / "data"
    generate(directory, SynthOptions(images=8, val=4, size=128, seed=5, min_digit=24, max_digit=80))
    return directory / "data.yaml"


@pytest.fixture(scope="session")
def digits(digits_yaml: Path) -> DetectionDataset:
    return load_dataset(digits_yaml, "train")
