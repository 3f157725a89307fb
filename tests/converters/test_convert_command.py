"""`edgedet convert`, as its users see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgedet.cli import main
from edgedet.spec import ModelSpec


def convert(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["convert", *map(str, arguments)])
    return int(exit_.value.code or 0)


def test_json_is_one_object_and_nothing_else(
    model_file: Path, data: Path, spec: ModelSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--int8", "--no-check", "--data", data, "--calibration-images", 5)
    assert convert(model_file, *options, "--out", tmp_path, "--json") == 0
    report = json.loads(capfd.readouterr().out)
    assert report["file"] == str(tmp_path / "tiny-int8.tflite")
    assert report["bytes"] == Path(report["file"]).stat().st_size
    assert report["operators"] == sum(report["operator_counts"].values())
    assert report["calibration"]["images"] == 5
    assert [head["name"] for head in report["heads"]] == [*spec.class_outputs, *spec.box_outputs]
    assert all(head["scale"] > 0 and head["correlation"] > 0.9 for head in report["heads"])


def test_text_shows_heads_size_operators_and_the_next_command(
    model_file: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert convert(model_file, "--int8", "--no-check", "--data", data, "--out", tmp_path) == 0
    printed = capfd.readouterr().out
    file = tmp_path / "tiny-int8.tflite"
    assert f"{file}: int8, {file.stat().st_size / 1e6:.2f} MB" in printed
    assert "297 operators: 147 CONV_2D" in printed
    assert "calibrated on 12 pictures of the train split" in printed
    assert "calibration: There are 12 pictures to calibrate on; with 50 or more" in printed
    for name in ("class_3", "box_7"):
        assert name in printed
    assert printed.splitlines()[-1] == f"next: edgedet eval --model {file} --data {data}"


def test_export_is_an_alias(
    model_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["export", str(model_file), "--out", str(tmp_path)])
    assert not exit_.value.code
    assert "tiny-float32.tflite: float32" in capfd.readouterr().out
