"""Training runs: they learn, leave whole files, and go on exactly where they stopped."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from edgedet.data.dataset import DetectionDataset
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.models import load_model, preset_spec
from edgedet.models.layers import StochasticDepth
from edgedet.spec import ModelSpec
from edgedet.training import TrainingOptions, train


def _spec(dataset: DetectionDataset) -> ModelSpec:
    return preset_spec(
        "eff-spinenet-m0", dataset.labels, dataset.category_ids, size=128, activation="relu6"
    )


OPTIONS = TrainingOptions(epochs=2, batch_size=4, learning_rate=1e-3, seed=3)


def _small_network(
    spec: ModelSpec, *, batch_size: int | None = None, drop_rate: float | None = None
) -> keras.Model:
    """Raw heads from one strided convolution per level, with all that has a state: normalization
    and a random layer. It compiles in a second, and the loop knows no difference.
    """
    image = keras.Input((spec.input.height, spec.input.width, 3), batch_size=batch_size)
    x = keras.layers.AveragePooling2D(8)(image)
    outputs = {}
    for level in spec.anchors.levels:
        x = keras.layers.Conv2D(8, 3, padding="same", strides=1 if level == 3 else 2)(x)
        x = keras.layers.BatchNormalization()(x)
        x = StochasticDepth(0.1, name=f"drop_{level}")(x)
        for kind, count in (("class", spec.num_classes), ("box", 4)):
            width = spec.anchors.per_location * count
            outputs[f"{kind}_{level}"] = keras.layers.Conv2D(width, 1, name=f"{kind}_{level}")(x)
    return keras.Model(image, outputs)


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgedet.training.trainer.build", _small_network)
        patch.setattr("edgedet.models.saving.build", _small_network)
        yield


@pytest.fixture(scope="module")
def run(small: None, digits: DetectionDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("unbroken")
    train(_spec(digits), digits, directory, OPTIONS)
    return directory


class _Killed(BaseException):
    """What a killed run looks like from inside."""


def _stopped_by_until(digits: DetectionDataset, directory: Path) -> None:
    train(_spec(digits), digits, directory, OPTIONS, until=1)


def _killed_in_the_second_epoch(digits: DetectionDataset, directory: Path) -> None:
    def validate(epoch: int, file: Path) -> dict[str, float]:
        if epoch == 2:
            raise _Killed
        return {}

    with pytest.raises(_Killed):
        train(_spec(digits), digits, directory, OPTIONS, validate=validate)


@pytest.mark.parametrize("stop", [_stopped_by_until, _killed_in_the_second_epoch])
def test_a_resumed_run_ends_as_the_unbroken_one(
    stop: Callable[[DetectionDataset, Path], None],
    run: Path,
    digits: DetectionDataset,
    tmp_path: Path,
) -> None:
    stop(digits, tmp_path)
    assert len(_rows(tmp_path)) == 1
    train(_spec(digits), digits, tmp_path, OPTIONS, resume=True)
    before, _ = load_model(run / "last.keras")
    after, _ = load_model(tmp_path / "last.keras")
    for first, second in zip(before.weights, after.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    assert [row["loss"] for row in _rows(run)] == [row["loss"] for row in _rows(tmp_path)]


def _rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_record(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "best.keras",
        "last.keras",
        "results.csv",
        "results.png",
        "state.npz",
    }
    rows = _rows(run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["learning_rate"]) == pytest.approx(0, abs=1e-9)
    assert all(float(row["images_per_second"]) > 0 for row in rows)


def test_epochs_without_validation_have_empty_metrics(
    small: None, digits: DetectionDataset, tmp_path: Path
) -> None:
    train(
        _spec(digits),
        digits,
        tmp_path,
        OPTIONS,
        validate=lambda epoch, file: {"AP": 0.25} if epoch == 2 else {},
    )
    assert [row["AP"] for row in _rows(tmp_path)] == ["", "0.25"]


def test_the_saved_model_says_where_it_comes_from(run: Path) -> None:
    _, spec = load_model(run / "best.keras")
    assert spec.provenance["training_images"] == 8
    assert spec.provenance["training"]["seed"] == 3


def test_resuming_nothing_is_told(small: None, digits: DetectionDataset, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"state\.npz; nothing to resume"):
        train(_spec(digits), digits, tmp_path, OPTIONS, resume=True)


def test_a_damaged_state_is_told(run: Path, digits: DetectionDataset, tmp_path: Path) -> None:
    (tmp_path / "state.npz").write_bytes((run / "state.npz").read_bytes()[:5000])
    with pytest.raises(InvalidInputError, match=r"state\.npz is damaged"):
        train(_spec(digits), digits, tmp_path, OPTIONS, resume=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"scale": (2.0, 1.0)}, "scale"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        TrainingOptions(**options)  # type: ignore[arg-type]


def test_a_diverging_loss_stops_the_run(
    small: None, digits: DetectionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedet.training.learner.BOX_LOSS_WEIGHT", float("nan"))
    with pytest.raises(EdgeDetError, match="lower the learning rate"):
        train(_spec(digits), digits, tmp_path, OPTIONS)
    assert not (tmp_path / "last.keras").exists()
