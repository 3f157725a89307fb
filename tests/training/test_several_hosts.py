"""`edgedet train` on several devices and hosts: real processes, the losses of one device."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("small_command.py")
# 8 pictures in batches of 4: 20 steps. With SGD, because Adam makes steps of full size from the
# rounding errors of gradients that are zero, as a bias in front of a normalization has.
OPTIONS = ("--epochs", "10", "--batch", "4", "--imgsz", "128", "--backend", "jax", "--lr", "0.01")
OPTIONS += ("--set", "optimizer=sgd")


def _start(data: Path, project: Path, *options: str, devices: int = 1) -> subprocess.Popen[str]:
    words = ["train", "--data", str(data), *OPTIONS, "--val-every", "0", "--save-every", "1000"]
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *words, "--project", str(project), *options],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def project(digits_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on one device, on four, and on two hosts, at the same time."""
    project = tmp_path_factory.mktemp("hosts")
    hosts = ("--coordinator", f"127.0.0.1:{_free_port()}", "--num-hosts", "2", "--name", "hosts")
    processes = [
        _start(digits_yaml, project, "--name", "one"),
        _start(digits_yaml, project, "--name", "four", "--devices", "4", devices=4),
        *(_start(digits_yaml, project, *hosts, "--host-id", str(host)) for host in range(2)),
    ]
    told = [process.communicate(timeout=300) for process in processes]
    codes = [process.returncode for process in processes]
    assert codes == [0, 0, 0, 0], told
    # The second host neither reports nor makes a run of its own.
    assert told[3][0] == ""
    return project / "train"


@pytest.mark.parametrize("name", ["four", "hosts"])
def test_losses_and_weights_are_those_of_one_device(project: Path, name: str) -> None:
    one, other = (
        [json.loads(line)["loss"] for line in (project / run / "log.jsonl").open()]
        for run in ("one", name)
    )
    assert len(one) == 20
    np.testing.assert_allclose(other, one, rtol=1e-4)
    # Weights, statistics, averages and momenta.
    first, second = (np.load(project / run / "state.npz") for run in ("one", name))
    assert first.files == second.files
    for variable in first.files:
        if variable != "meta" and first[variable].size:
            largest = max(1e-3, float(np.abs(first[variable]).max()))
            np.testing.assert_allclose(first[variable], second[variable], atol=1e-3 * largest)


def test_every_run_leaves_its_files_once(project: Path) -> None:
    assert sorted(path.name for path in project.iterdir()) == ["four", "hosts", "one"]
    for name in ("four", "hosts"):
        assert sorted(path.name for path in (project / name).iterdir()) == sorted(
            path.name for path in (project / "one").iterdir()
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--devices", "3"), "JAX finds 1"),
        (("--num-hosts", "2"), "--coordinator"),
        (("--coordinator", "nowhere", "--num-hosts", "2"), "nowhere"),
    ],
)
def test_a_topology_that_is_none_is_told(
    options: tuple[str, ...], said: str, digits_yaml: Path, tmp_path: Path
) -> None:
    process = _start(digits_yaml, tmp_path / "runs", *options)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said in err.strip().splitlines()[-1]
    assert out == ""
    assert not (tmp_path / "runs").exists()
