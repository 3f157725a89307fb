"""`edgedet train` from end to end, and the words it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.models import load_model


def _rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "results.csv").open() as file:
        return list(csv.DictReader(file))


Command = Callable[..., Any]


def test_a_run_stopped_before_its_first_validation_is_validated_then(
    small_here: None, edgedet: Command, digits_yaml: Path, tmp_path: Path
) -> None:
    words = ["train", "--data", digits_yaml, "--epochs", 5, "--batch", 4, "--imgsz", 128]
    words += ["--scale", 0.9, 1.2, "--set", "colour=0.1", "--val-every", 5, "--until", 1]
    code, out, _ = edgedet(*words, "--project", tmp_path, "--json")
    assert code == 0
    _, spec = load_model(json.loads(out)["best"])
    assert spec.provenance["training"]["scale"] == [0.9, 1.2]
    assert spec.provenance["training"]["colour"] == 0.1
    assert float(_rows(tmp_path / "train" / "exp")[0]["AP"]) >= 0


def test_the_command_trains_and_prints_one_json_object(
    edgedet: Command, digits_yaml: Path, tmp_path: Path
) -> None:
    code, out, _ = edgedet(
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
        (["--data", "DATA", "--model", "resnet"], "There is no model 'resnet'"),
        (["--data", "DATA", "--imgsz", "100"], "multiple of 128"),
        (["--data", "DATA", "--epochs", "0"], "epochs"),
        (["--data", "DATA", "--until", "0"], "--until"),
        (["--data", "DATA", "--backend", "mxnet"], "backend"),
        (["--data", "DATA", "--recipe", "fast"], "There is no recipe 'fast'"),
        (["--data", "DATA", "--set", "epoch=3"], "did you mean epochs?"),
        (["--data", "DATA", "--precision", "int8"], "float32 or bfloat16 or float16"),
        (["--data", "DATA", "--set", "drop_block=0.1"], "DropBlock"),
        (["--data", "DATA", "--val-every", "-1"], "--val-every"),
        (["--benchmark", "0"], "steps to time"),
        (["--data", "DATA", "--weights", "gone.keras"], "gone.keras"),
        (["--resume", "--name", "never"], "never to resume"),
    ],
)
def test_bad_input_gives_one_sentence_and_leaves_nothing(
    edgedet: Command,
    digits_yaml: Path,
    tmp_path: Path,
    words: list[str],
    said: str,
) -> None:
    words = [str(digits_yaml) if word == "DATA" else word for word in words]
    code, out, err = edgedet("train", *words, "--project", tmp_path / "runs")
    assert code == 2
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_importing_the_command_loads_no_keras() -> None:
    code = "import edgedet.cli.train, sys; print('keras' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
