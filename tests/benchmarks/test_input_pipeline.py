"""The benchmark of the input pipeline measures every setting, on its own pictures or others'."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.benchmarks import input_pipeline
from edgedet.data.pipeline import TrainingBatches

QUICK = ["--images", "4", "--size", "64", "--batch", "2", "--seconds", "0.05"]


def test_it_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    input_pipeline.main([*QUICK, "--workers", "0", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["pictures"] == 4
    assert content["machine"]["logical_cpus"] >= 1
    settings = [speed["setting"] for speed in content["speeds"]]
    assert settings == ["decoding alone", *input_pipeline.SETTINGS]
    for speed in content["speeds"]:
        assert speed["images_per_second"] > 0
        assert speed["cpu_ms_per_image"] >= speed["cpu_ms_fastest"] > 0


def test_it_prints_a_line_for_each_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"no augmentation": input_pipeline.SETTINGS["no augmentation"]}
    monkeypatch.setattr(input_pipeline, "SETTINGS", one)
    input_pipeline.main([*QUICK, "--workers", "0", "1"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "images/s  " in line]
    assert len(lines) == 3
    assert "2 threads" in lines[1]
    assert "1 processes" in lines[2]


def test_a_missing_dataset_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        input_pipeline.main([*QUICK, "--data", "none.yaml"])
    assert stopped.value.code == 2
    assert "none.yaml" in capsys.readouterr().err


def test_its_pictures_are_as_large_as_cocos(tmp_path: Path) -> None:
    dataset = input_pipeline.synthetic_dataset(tmp_path, 3)
    for sample in dataset.samples:
        assert 100_000 < sample.path.stat().st_size < 220_000
        with Image.open(sample.path) as picture:
            assert picture.size == (640, 480)
        assert sample.boxes.shape == (7, 4)
        assert (sample.boxes[:, 2:] <= [640, 480]).all()
        assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()


def test_images_and_seconds_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a clock that each batch of 2 moves by 0.1 s, of which 0.04 s were worked."""
    clock = {"now": 0.0, "worked": 0.0}

    class Source:
        def __enter__(self) -> Source:
            return self

        def __exit__(self, *raised: object) -> None: ...

        def __next__(self) -> tuple[np.ndarray, None]:
            clock["now"] += 0.1
            clock["worked"] += 0.04
            return np.zeros((2, 1)), None

    monkeypatch.setattr(TrainingBatches, "iterate", lambda self: Source())
    monkeypatch.setattr(input_pipeline.time, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(input_pipeline, "_processor_seconds", lambda: clock["worked"])
    speed = input_pipeline.measure(
        input_pipeline.synthetic_dataset(tmp_path, 2),
        "no augmentation",
        size=64,
        batch_size=2,
        workers=0,
        threads=1,
        seconds=5,
    )
    assert speed.images_per_second == pytest.approx(20)
    assert speed.cpu_ms_per_image == pytest.approx(20)
    assert speed.cpu_ms_fastest == pytest.approx(20)
