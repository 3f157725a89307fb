"""Training runs: they learn, leave whole files, and go on exactly where they stopped."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from edgedet import cli
from edgedet.data.augment import Augmentation
from edgedet.data.dataset import DetectionDataset
from edgedet.data.pipeline import TrainingBatches
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.models import build, load_model, preset_spec
from edgedet.spec import ModelSpec
from edgedet.training import TrainingOptions, train
from edgedet.training.learner import DetectionLearner


def _spec(dataset: DetectionDataset) -> ModelSpec:
    return preset_spec(
        "eff-spinenet-m0", dataset.labels, dataset.category_ids, size=128, activation="relu6"
    )


OPTIONS = TrainingOptions(epochs=2, batch_size=4, learning_rate=1e-3, seed=3)


@pytest.fixture(scope="module")
def run(digits: DetectionDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("unbroken")
    train(_spec(digits), digits, directory, OPTIONS)
    return directory


class _Interrupt(BaseException):
    """What a killed run looks like from inside."""


def test_a_resumed_run_ends_as_the_unbroken_one(
    run: Path, digits: DetectionDataset, tmp_path: Path
) -> None:
    def stop(epoch: int, file: Path) -> dict[str, float]:
        if epoch == 2:
            raise _Interrupt
        return {"AP": 0.0}

    with pytest.raises(_Interrupt):
        train(_spec(digits), digits, tmp_path, OPTIONS, validate=stop)
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
    digits: DetectionDataset, tmp_path: Path
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


def test_resuming_nothing_is_told(digits: DetectionDataset, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"state\.npz; nothing to resume"):
        train(_spec(digits), digits, tmp_path, OPTIONS, resume=True)


def test_a_damaged_state_is_told(run: Path, digits: DetectionDataset, tmp_path: Path) -> None:
    (tmp_path / "state.npz").write_bytes((run / "state.npz").read_bytes()[:5000])
    with pytest.raises(InvalidInputError, match=r"state\.npz is damaged"):
        train(_spec(digits), digits, tmp_path, OPTIONS, resume=True)


def test_a_few_steps_lower_the_loss_and_the_average_follows(digits: DetectionDataset) -> None:
    keras.utils.set_random_seed(0)
    spec = _spec(digits)
    network = build(spec)
    learner = DetectionLearner(network, spec, average_decay=0.9)
    learner.compile(optimizer=keras.optimizers.AdamW(2e-3), jit_compile=False)
    before = [np.array(weight) for weight in network.weights]
    for average, weight in zip(learner.averaged_values(), before, strict=True):
        np.testing.assert_array_equal(average, weight)
    batches = TrainingBatches(
        digits, spec.input, batch_size=8, augmentation=Augmentation((1, 1), False, 0), seed=0
    )
    images, truth = next(iter(batches.epoch(0)))
    losses = [
        float(learner.train_on_batch(images, truth, return_dict=True)["loss"]) for _ in range(12)
    ]
    assert losses[-1] < 0.8 * losses[0]
    # The statistics of the normalizations are averaged as well.
    for index, weight in enumerate(network.weights):
        if weight.path.endswith("stem_bn/moving_variance"):
            average = learner.averaged_values()[index]
            assert not np.allclose(average, before[index])
            assert not np.allclose(average, np.asarray(weight))


def test_every_trainable_weight_gets_a_gradient(digits: DetectionDataset) -> None:
    keras.utils.set_random_seed(0)
    spec = _spec(digits)
    network = build(spec)
    learner = DetectionLearner(network, spec, average_decay=0.9)
    learner.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
    before = [np.array(weight) for weight in network.trainable_weights]
    batches = TrainingBatches(
        digits, spec.input, batch_size=8, augmentation=Augmentation((0.8, 1.2), False, 0), seed=0
    )
    learner.train_on_batch(*next(iter(batches.epoch(0))))
    still = [
        weight.path
        for weight, value in zip(network.trainable_weights, before, strict=True)
        if np.array_equal(np.asarray(weight), value)
    ]
    assert still == []


def test_epochs_differ_and_repeat_by_seed(digits: DetectionDataset) -> None:
    def first(seed: int, epoch: int) -> np.ndarray:
        batches = TrainingBatches(
            digits, _spec(digits).input, batch_size=4, augmentation=Augmentation(), seed=seed
        )
        images: np.ndarray = next(iter(batches.epoch(epoch)))[0]
        return images

    np.testing.assert_array_equal(first(1, 0), first(1, 0))
    assert not np.array_equal(first(1, 0), first(1, 1))
    assert not np.array_equal(first(1, 0), first(2, 0))


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


def test_a_diverging_loss_stops_the_run(digits: DetectionDataset, tmp_path: Path) -> None:
    wild = TrainingOptions(epochs=1, batch_size=2, learning_rate=100, warmup=0, clip_norm=1e6)
    poisoned = _spec(digits)
    with pytest.raises(EdgeDetError, match="lower the learning rate"):
        train(poisoned, _with_nan_box(digits), tmp_path, wild)
    assert not (tmp_path / "last.keras").exists()


def _with_nan_box(digits: DetectionDataset) -> DetectionDataset:
    import dataclasses

    samples = [
        dataclasses.replace(sample, boxes=np.full_like(sample.boxes, np.nan))
        for sample in digits.samples
    ]
    return dataclasses.replace(digits, samples=samples)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run_command(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return int(stopped.value.code or 0), told.out, told.err

    return run_command


def test_the_command_trains_and_prints_one_json_object(
    command: Callable[..., tuple[int, str, str]], digits_yaml: Path, tmp_path: Path
) -> None:
    code, out, _ = command(
        "train",
        "--data",
        digits_yaml,
        "--epochs",
        1,
        "--batch",
        4,
        "--imgsz",
        128,
        "--val-every",
        1,
        "--project",
        tmp_path,
        "--name",
        "one",
        "--json",
    )
    assert code == 0
    outcome = json.loads(out)
    assert Path(outcome["best"]).is_file()
    assert outcome["run"] == str(tmp_path / "train" / "one")
    assert float(_rows(tmp_path / "train" / "one")[0]["AP"]) >= 0
    _, spec = load_model(outcome["best"])
    assert spec.labels == tuple("0123456789")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--data"),
        (["--data", "gone.yaml"], "gone.yaml"),
        (["--data", "DATA", "--model", "resnet"], "choose one of"),
        (["--data", "DATA", "--imgsz", "100"], "multiple of 128"),
        (["--data", "DATA", "--epochs", "0"], "epochs"),
        (["--data", "DATA", "--backend", "mxnet"], "backend"),
        (["--data", "DATA", "--weights", "gone.keras"], "gone.keras"),
        (["--resume", "--name", "never"], "never to resume"),
    ],
)
def test_bad_input_gives_one_sentence_and_leaves_nothing(
    command: Callable[..., tuple[int, str, str]],
    digits_yaml: Path,
    tmp_path: Path,
    words: list[str],
    said: str,
) -> None:
    words = [str(digits_yaml) if word == "DATA" else word for word in words]
    code, out, err = command("train", *words, "--project", tmp_path / "runs")
    assert code == 2
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_importing_the_command_loads_no_keras() -> None:
    import subprocess

    code = "import edgedet.cli.train, sys; print('keras' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
