"""Networks that several tests look at: building one takes seconds."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import functools
from collections.abc import Callable, Iterator

import keras
import pytest

from edgedet.cli.models import count_spec, paper_spec
from edgedet.models import Count, build, preset_spec
from edgedet.spec import ModelSpec

LABELS = ("cat", "dog", "bird")


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    return preset_spec("eff-spinenet-m0", LABELS, (17, 18, 16), size=128, activation="relu6")


@pytest.fixture(scope="session")
def small_network(small_spec: ModelSpec) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build(small_spec)


@pytest.fixture(scope="session")
def counted() -> Callable[[str], Count]:
    """The cost of a preset with as many classes as its paper counts; each is counted once."""

    @functools.cache
    def count_preset(name: str) -> Count:
        found = count_spec(paper_spec(name))
        keras.backend.clear_session()
        return found

    return count_preset


@pytest.fixture
def without_weights() -> Iterator[None]:
    """Networks have shapes alone: making the weights takes two thirds of the time."""
    with keras.StatelessScope(initialize_variables=False):
        yield
