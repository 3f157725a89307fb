"""Networks that several tests look at: building one takes seconds."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest

from edgedet.models import build, preset_spec
from edgedet.spec import ModelSpec

LABELS = ("cat", "dog", "bird")


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    return preset_spec("eff-spinenet-m0", LABELS, (17, 18, 16), size=128, activation="relu6")


@pytest.fixture(scope="session")
def small_network(small_spec: ModelSpec) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build(small_spec)
