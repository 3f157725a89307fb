"""Training runs: they learn, leave whole files, and go on exactly where they stopped."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgedet.data.dataset import DetectionDataset
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.models import load_model, preset_spec
from edgedet.spec import ModelSpec
from edgedet.training import Execution, Reporter, TrainingOptions, train
from edgedet.training.losses import detection_loss
from edgedet.training.trainer import OutOfMemoryError


def _spec(dataset: DetectionDataset) -> ModelSpec:
    return preset_spec(
        "eff-spinenet-m0", dataset.labels, dataset.category_ids, size=128, activation="relu6"
    )


OPTIONS = TrainingOptions(epochs=2, batch_size=2, learning_rate=1e-3, seed=3)
EVERY_STEP = Execution(save_seconds=0.0)


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


def _killed_between_two_steps(digits: DetectionDataset, directory: Path) -> None:
    class Killer(Reporter):
        steps = 0

        def stepped(self, done: int, losses: dict[str, float]) -> None:
            self.steps += 1
            if self.steps == 7:  # of 4 + 4
                raise _Killed

    with pytest.raises(_Killed):
        train(_spec(digits), digits, directory, OPTIONS, execution=EVERY_STEP, reporter=Killer())


@pytest.mark.parametrize(
    "stop", [_stopped_by_until, _killed_in_the_second_epoch, _killed_between_two_steps]
)
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
    assert _losses(run) == _losses(tmp_path)


def _losses(directory: Path) -> list[tuple[int, int, float, float]]:
    rows = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["epoch"], row["loss"], row["learning_rate"]) for row in rows]


def _rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_record(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "best.keras",
        "last.keras",
        "log.jsonl",
        "results.csv",
        "results.png",
        "state.npz",
    }
    rows = _rows(run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["learning_rate"]) > float(rows[1]["learning_rate"]) > 0
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    steps = _losses(run)
    assert [(step, epoch) for step, epoch, *_ in steps] == [(n + 1, n // 4 + 1) for n in range(8)]
    for epoch, row in enumerate(rows, start=1):
        mean = np.mean([loss for _, number, loss, _ in steps if number == epoch])
        assert float(row["loss"]) == pytest.approx(mean, rel=1e-6)
        assert float(row["loss"]) == pytest.approx(
            float(row["class_loss"]) + 50 * float(row["box_loss"]), rel=1e-5
        )


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


def test_a_run_that_gets_no_better_stops(
    small: None, digits: DetectionDataset, tmp_path: Path
) -> None:
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    options = TrainingOptions(epochs=5, batch_size=8, patience=2, seed=3)
    best = train(_spec(digits), digits, tmp_path, options, validate=lambda *_: {"AP": next(scores)})
    assert [row["AP"] for row in _rows(tmp_path)] == ["0.1", "0.3", "0.2", "0.3"]
    # The best is the second epoch's, the last the fourth's.
    first, last = (load_model(path)[0] for path in (best, tmp_path / "last.keras"))
    assert not np.array_equal(np.asarray(first.weights[0]), np.asarray(last.weights[0]))


def test_a_run_starts_from_the_weights_that_fit(
    run: Path, digits: DetectionDataset, tmp_path: Path
) -> None:
    fewer = dataclasses.replace(
        digits,
        labels=digits.labels[:3],
        category_ids=digits.category_ids[:3],
        samples=[
            dataclasses.replace(sample, classes=np.minimum(sample.classes, 2))
            for sample in digits.samples
        ],
    )
    # So small a rate leaves the start as it was.
    options = TrainingOptions(epochs=1, batch_size=8, learning_rate=1e-9, average_decay=0.0)
    train(_spec(fewer), fewer, tmp_path, options, weights=run / "last.keras")
    before, after = (load_model(place / "last.keras")[0] for place in (run, tmp_path))
    trained = {variable.path: np.asarray(variable) for variable in before.trainable_variables}
    for variable in after.trainable_variables:
        if variable.path.startswith("class_"):
            assert variable.shape[-1] == 3 * trained[variable.path].shape[-1] / 10
        else:
            np.testing.assert_allclose(np.asarray(variable), trained[variable.path], atol=1e-6)


def test_weights_of_another_preset_are_refused(
    run: Path, digits: DetectionDataset, tmp_path: Path
) -> None:
    other = dataclasses.replace(_spec(digits), name="efficientdet-d0")
    with pytest.raises(InvalidInputError, match=r"last\.keras holds eff-spinenet-m0, not"):
        train(other, digits, tmp_path, OPTIONS, weights=run / "last.keras")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("OOM when allocating tensor with shape[8,3]", True),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12 bytes.", True),
        ("shapes (3,) and (4,) not aligned", False),
    ],
)
def test_too_little_memory_gets_a_suggestion(
    message: str,
    told: bool,
    small: None,
    digits: DetectionDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def step(*arguments: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr("edgedet.training.stepping.Stepper.step", step)
    with pytest.raises(OutOfMemoryError if told else RuntimeError) as error:
        train(_spec(digits), digits, tmp_path, OPTIONS)
    if told:
        assert "2 pictures of 128 px" in str(error.value)
        assert "--batch 1 --set accumulate=2" in str(error.value)


def test_a_diverging_loss_stops_the_run(
    small: None, digits: DetectionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgedet.training.learner.detection_loss",
        lambda *given, **options: tuple(
            float("nan") * part for part in detection_loss(*given, **options)
        ),
    )
    with pytest.raises(EdgeDetError, match="lower the learning rate"):
        train(_spec(digits), digits, tmp_path, OPTIONS)
    assert not (tmp_path / "last.keras").exists()
