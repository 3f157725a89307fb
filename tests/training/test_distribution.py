"""Several devices and hosts: the numbers of one device, and a sentence for whatever is wrong."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.training import distribution
from edgedet.training.distribution import Topology
from edgedet.training.rendezvous import call_roll, parse_address

PROCESS = Path(__file__).with_name("distributed_process.py")

SPREAD = ("four-devices", "host-0", "host-1")
"""Four devices of one host, and two hosts with two devices each."""


def _free_port() -> int:
    with socket.create_server(("localhost", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def _process(host: int, hosts: int, port: int, out: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={4 // hosts}",
    }
    words = [sys.executable, str(PROCESS), str(host), str(hosts), str(port), str(out)]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one device, four devices and two hosts found, by name."""
    out = tmp_path_factory.mktemp("runs")
    port = _free_port()
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(_process(host, hosts, port, out))
            for host, hosts in ((0, 2), (1, 2), (0, 1))
        ]
        for process in processes:
            told = process.communicate(timeout=300)[1]
            assert process.returncode == 0, told[-3000:]
    found: dict[str, dict[str, Any]] = {"refused": {"sentence": (out / "sentence.txt").read_text()}}
    for path in out.glob("*.npz"):
        with np.load(path) as arrays:
            found[path.stem] = dict(arrays)
    return found


def _group(run: dict[str, Any], name: str) -> list[np.ndarray]:
    arrays = [value for key, value in run.items() if key.startswith(f"{name}_")]
    assert arrays
    return arrays


@pytest.mark.parametrize("name", SPREAD)
def test_the_loss_curve_is_that_of_one_device(runs: dict[str, dict[str, Any]], name: str) -> None:
    assert runs["one-device"]["replicas"] == 1
    assert runs[name]["replicas"] == 4
    assert runs[name]["share"] == 2
    for key in ("loss", "class_loss", "box_loss"):
        expected, found = runs["one-device"][key], runs[name][key]
        assert len(expected) == 20
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    curve = runs["one-device"]["loss"]
    assert curve[-1] < 0.5 * curve[0]  # a curve, not a line


@pytest.mark.parametrize("name", SPREAD)
@pytest.mark.parametrize("group", ["gradient", "first", "weight", "average"])
def test_variables_are_those_of_one_device(
    runs: dict[str, dict[str, Any]], name: str, group: str
) -> None:
    expected, found = _group(runs["one-device"], group), _group(runs[name], group)
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=2e-5 * np.abs(before).max())


def test_hosts_hold_the_same_bits(runs: dict[str, dict[str, Any]]) -> None:
    first, second = runs["host-0"], runs["host-1"]
    assert first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key])
    assert first["from_first"].tolist() == ["2.5", "of host 0"]


def test_more_devices_than_there_are(runs: dict[str, dict[str, Any]]) -> None:
    said = runs["refused"]["sentence"]
    assert said == "--devices 5 is more than this machine has: JAX finds 4 there (cpu)."


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX can")
def test_only_jax_distributes() -> None:
    distribution.start(Topology(devices=1))
    with pytest.raises(InvalidInputError, match="choose --backend jax"):
        distribution.start(Topology(devices=2))


def test_one_process_is_the_whole_run() -> None:
    distribution.start(Topology())
    assert distribution.shard() == (0, 1)
    assert distribution.is_first()
    assert distribution.replicas() == 1
    assert distribution.from_first({"AP": 0.5}) == {"AP": 0.5}
    distribution.check_batch(7)
    with distribution.alone():
        assert distribution.replicas() == 1


@pytest.mark.parametrize(
    ("batch", "fitting"), [(10, "take 8 or 12"), (13, "take 12 or 16"), (3, "take 4")]
)
def test_a_batch_that_devices_cannot_share(
    monkeypatch: pytest.MonkeyPatch, batch: int, fitting: str
) -> None:
    monkeypatch.setattr(distribution, "replicas", lambda: 4)
    distribution.check_batch(12)
    with pytest.raises(InvalidInputError, match=f"4 devices .* batch of {batch} .*{fitting}"):
        distribution.check_batch(batch)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"devices": 0}, "--devices must be at least 1"),
        ({"num_hosts": 0}, "--num-hosts must be at least 1"),
        ({"num_hosts": 2, "host_id": 2, "coordinator": "a:1"}, "--host-id must lie in 0 to 1"),
        ({"host_id": -1}, "--host-id must lie in 0 to 0"),
        ({"num_hosts": 2}, "Several hosts need --coordinator"),
        ({"coordinator": "node0:29500"}, "give --num-hosts"),
        ({"num_hosts": 2, "coordinator": "node0"}, "'node0' is no address of a coordinator"),
    ],
)
def test_a_topology_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Topology(**options)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("node0:29500", ("node0", 29500)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("[fe80::1]:65535", ("fe80::1", 65535)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", ":", "node0", "node0:", ":29500", "node0:0", "node0:65536", "node0:-1", "node0:2 9",
     "node0:²", "fe80::1:29500", "[node0]:29500", "[]:29500"],
)  # fmt: skip
def test_no_address(text: str) -> None:
    with pytest.raises(InvalidInputError, match="node0:29500"):
        parse_address(text)


def _roll(
    hosts: list[tuple[int, int]], *, timeout: float = 20.0, port: int | None = None
) -> list[str]:
    """What each host, given by its number of hosts and its id, is told; "" if all is well."""
    address = f"localhost:{port or _free_port()}"
    told = [""] * len(hosts)

    def call(place: int, num_hosts: int, host_id: int) -> None:
        try:
            call_roll(address, num_hosts, host_id, timeout=timeout)
        except InvalidInputError as error:
            told[place] = str(error)

    threads = [
        threading.Thread(target=call, args=(place, *host)) for place, host in enumerate(hosts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return told


def test_hosts_find_each_other_in_any_order() -> None:
    assert _roll([(3, 2), (3, 0), (3, 1)]) == [""] * 3


def test_an_absent_host_is_named_to_all() -> None:
    first, second = _roll([(4, 0), (4, 2)], timeout=1.0)
    assert first.startswith("Of 4 hosts, hosts 1, 3 did not come within 1 s: start")
    assert second == first or "did not answer within 1 s" in second


def test_an_absent_coordinator() -> None:
    port = _free_port()
    (said,) = _roll([(2, 1)], timeout=0.5, port=port)
    assert said.startswith(f"The coordinator localhost:{port} did not answer within 0.5 s (")
    assert said.endswith("see that this host can reach the port.")


def test_two_hosts_of_one_id() -> None:
    told = _roll([(3, 0), (3, 1), (3, 1)])
    assert told == ["Two hosts were started with --host-id 1: give each its own."] * 3


def test_hosts_of_two_runs() -> None:
    told = _roll([(2, 0), (4, 1)])
    assert told[0].startswith("Host 1 was started with --num-hosts 4, host 0 with 2:")
    assert told[1] == told[0]


def test_a_taken_port() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        (said,) = _roll([(2, 0)], port=port)
    assert said.startswith(f"Host 0 can't listen on port {port} (")
    assert said.endswith("choose another for --coordinator, on all hosts.")


@pytest.mark.parametrize(
    "spoken",
    [b"GET / HTTP/1.1\r\n\r\n", b"", b"[]\n", b"x" * 10_000, b'{"host_id": true, "num_hosts": 2}\n',
     b'{"host_id": 7, "num_hosts": 2}\n', b'{"fault": ""}\n'],
)  # fmt: skip
def test_strangers_at_the_port_are_ignored(spoken: bytes) -> None:
    port = _free_port()
    told: list[str] = []

    def gather() -> None:
        told.extend(_roll([(2, 0)], port=port))

    thread = threading.Thread(target=gather)
    thread.start()
    stranger = _connected(port)
    # The coordinator may hang up on it in mid-sentence.
    with contextlib.suppress(OSError):
        stranger.sendall(spoken)
        stranger.shutdown(socket.SHUT_WR)
    assert _roll([(2, 1)], port=port) == [""]
    thread.join(60)
    stranger.close()
    assert told == [""]


def _connected(port: int) -> socket.socket:
    for _ in range(500):
        try:
            return socket.create_connection(("localhost", port), timeout=5)
        except OSError:
            threading.Event().wait(0.01)
    raise AssertionError("nobody listens")
