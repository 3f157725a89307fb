"""A run that is killed goes on as if nothing had been: real processes, a real kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("small_command.py")
OPTIONS = ("--epochs", "3", "--batch", "1", "--imgsz", "128", "--save-every", "0")


def _command(data: Path, project: Path, *options: str) -> list[str]:
    words = ["train", "--val-every", "0", "--project", str(project), *options]
    if "--resume" not in options:
        words += ["--data", str(data), *OPTIONS]
    return [sys.executable, str(PROGRAM), *words]


def _steps(run: Path) -> list[dict[str, float]]:
    log = run / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_run_ends_with_the_unbroken_runs_weights(
    digits_yaml: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    unbroken = subprocess.Popen(
        _command(digits_yaml, tmp_path, "--name", "unbroken"), env=environment
    )
    broken = subprocess.Popen(_command(digits_yaml, tmp_path, "--name", "broken"), env=environment)
    run = tmp_path / "train" / "broken"
    deadline = time.monotonic() + 300
    while len(_steps(run)) < 11 and broken.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    broken.kill()
    assert broken.wait() == -signal.SIGKILL
    # Within the second or third of three epochs of eight steps.
    assert 11 <= len(_steps(run)) < 24
    assert unbroken.wait() == 0
    subprocess.run(
        _command(digits_yaml, tmp_path, "--name", "broken", "--resume"),
        check=True,
        env=environment,
    )
    ends = [tmp_path / "train" / name for name in ("unbroken", "broken")]
    states = [np.load(end / "state.npz") for end in ends]
    assert states[0].files == states[1].files
    for name in states[0].files:
        if name != "meta":
            np.testing.assert_array_equal(states[0][name], states[1][name])
    first, second = ([(row["step"], row["loss"]) for row in _steps(end)] for end in ends)
    assert first == second
    assert len(first) == 24
