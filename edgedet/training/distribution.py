"""Training on several devices and several hosts, each with its part of every batch.

All devices run one program over the global batch (JAX's sharded arrays): the loss, its count of
positive anchors and the statistics of batch normalization are those of the whole batch, whoever
holds which part of it. What differs from one device is the order of sums, so the last bits.

What that asks of a trainer (docs/distributed.md has the reasons):

- `start` comes before anything else computes or builds a layer.
- Every variable is a replica on every device of every host. Assigning to one and making one is
  work of all hosts together: do it on all of them, in one order, or within `alone`.
- Reading a variable is each host's own business. Only `is_first` writes files.
- What the first host alone knows, such as a validation's result, the others learn by `from_first`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from edgedet.errors import InvalidInputError
from edgedet.training.rendezvous import call_roll, parse_address

TIMEOUT = 300.0
"""Seconds that the hosts wait for each other at the start."""


@dataclass(frozen=True)
class Topology:
    """Where a run trains.

    Attributes:
        devices: devices of each host; None is one on a single host, all there are on several.
        coordinator: `host:port` by which all hosts reach host 0.
        num_hosts: processes that train together.
        host_id: which of them this one is, from 0.

    Raises:
        InvalidInputError: the values don't fit together.
    """

    devices: int | None = None
    coordinator: str | None = None
    num_hosts: int = 1
    host_id: int = 0

    def __post_init__(self) -> None:
        if self.devices is not None and self.devices < 1:
            raise InvalidInputError(f"--devices must be at least 1, not {self.devices}.")
        if self.num_hosts < 1:
            raise InvalidInputError(f"--num-hosts must be at least 1, not {self.num_hosts}.")
        if not 0 <= self.host_id < self.num_hosts:
            raise InvalidInputError(
                f"--host-id must lie in 0 to {self.num_hosts - 1} with --num-hosts "
                f"{self.num_hosts}, not {self.host_id}."
            )
        if self.num_hosts > 1 and self.coordinator is None:
            raise InvalidInputError(
                "Several hosts need --coordinator: the address of host 0, as in node0:29500."
            )
        if self.coordinator is not None:
            parse_address(self.coordinator)
            if self.num_hosts == 1:
                raise InvalidInputError(
                    "--coordinator is for several hosts: give --num-hosts and --host-id as well."
                )


def start(topology: Topology, *, timeout: float = TIMEOUT) -> None:
    """Spread what is built and trained from now on over the topology's devices.

    Args:
        topology: the hosts and devices; the default one changes nothing.
        timeout: seconds to wait for the other hosts.

    Raises:
        InvalidInputError: more devices than there are, a host that does not come, or a backend
            that can't distribute.
    """
    keras.distribution.set_distribution(None)
    if topology.num_hosts == 1 and topology.devices in (None, 1):
        return
    if keras.backend.backend() != "jax":
        raise InvalidInputError(
            f"The {keras.backend.backend()} backend trains on one device: choose --backend jax for "
            "several."
        )
    import jax

    if topology.coordinator is not None:
        _join(topology, timeout)
    hosts: list[list[Any]] = [[] for _ in range(jax.process_count())]
    for device in jax.devices():
        hosts[device.process_index].append(device)
    # All hosts see all devices and so come to one answer.
    fewest = min(range(len(hosts)), key=lambda host: len(hosts[host]))
    there = len(hosts[fewest])
    count = topology.devices or there
    if count > there:
        where = f"host {fewest}" if topology.num_hosts > 1 else "this machine"
        raise InvalidInputError(
            f"--devices {count} is more than {where} has: JAX finds {there} there "
            f"({hosts[fewest][0].platform})."
        )
    if topology.devices is None and len({len(devices) for devices in hosts}) > 1:
        raise InvalidInputError(
            f"The hosts have {', '.join(str(len(devices)) for devices in hosts)} devices: choose "
            f"--devices {there}, so that all have equal parts."
        )
    names = [f"{device.platform}:{device.id}" for devices in hosts for device in devices[:count]]
    keras.distribution.set_distribution(
        # The pipeline gives each host its own part; Keras could share out tf.data only.
        keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
    )


def _join(topology: Topology, timeout: float) -> None:
    import jax

    assert topology.coordinator is not None
    call_roll(topology.coordinator, topology.num_hosts, topology.host_id, timeout=timeout)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            topology.coordinator,
            num_processes=topology.num_hosts,
            process_id=topology.host_id,
            initialization_timeout=int(min(timeout, TIMEOUT)),
        )
    except RuntimeError as error:
        raise InvalidInputError(f"The hosts could not be joined: {error}") from error


def replicas() -> int:
    """Devices that share a batch, those of all hosts."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.num_model_replicas)


def check_batch(batch_size: int) -> None:
    """See that the devices can share a global batch equally.

    Raises:
        InvalidInputError: they can't.
    """
    count = replicas()
    if batch_size % count:
        lower = batch_size // count * count
        fitting = f"{lower} or {lower + count}" if lower else f"{count}"
        raise InvalidInputError(
            f"{count} devices can't share a batch of {batch_size} equally: take {fitting}."
        )


def shard() -> tuple[int, int]:
    """Which part of every batch this host reads, and of how many."""
    if keras.distribution.distribution() is None or keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def is_first() -> bool:
    """Whether this host writes files and reports; on one host, yes."""
    return shard()[0] == 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What is built or loaded inside belongs to this process and its first device alone.

    For work of one host: a network made elsewhere would wait for all of them.
    """
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def from_first(value: Any) -> Any:
    """The first host's `value`, anything JSON can hold, on every host; all must call this.

    The others wait here for as long as the first host takes.
    """
    if shard()[1] == 1:
        return value
    from jax.experimental import multihost_utils

    # Arrays must have one shape on all hosts: the length first.
    text = np.frombuffer(json.dumps(value if is_first() else None).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = np.zeros(length, np.uint8)
    padded[: min(length, len(text))] = text[:length]
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded))))
