"""How many instructions the NEON kernels execute, counted under qemu."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from edgedet.benchmarks.native_peers import INSTRUCTIONS_PLUGIN, WORKLOADS_PROGRAM, Peers
from edgedet.benchmarks.native_timing import Measure
from edgedet.errors import EdgeDetError

EMULATOR = "qemu-aarch64"
_LIBRARIES = "/usr/aarch64-linux-gnu"


def measure_instructions(peers: Peers, quick: bool) -> Iterator[Measure]:
    """Instructions per call of each workload of native/bench/workloads.cc, built for aarch64.

    A workload runs n and 2n times; the difference leaves out the program's start and the making of
    its inputs. Counts are exact and the same on every machine; times under qemu would say nothing.
    """
    emulator = shutil.which(EMULATOR)
    if emulator is None:
        peers.miss(f"{EMULATOR} is missing: install the Debian package qemu-user.")
        return
    plugin = peers.built(INSTRUCTIONS_PLUGIN)
    program = peers.built(WORKLOADS_PROGRAM, "aarch64/native/bench", "g++-aarch64-linux-gnu")
    if plugin is None or program is None:
        return
    command = [emulator, "-L", _LIBRARIES, "-plugin", str(plugin), "-d", "plugin", str(program)]
    names = subprocess.run(
        [emulator, "-L", _LIBRARIES, str(program)], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    runs = 1 if quick else 4
    for name in [name for name in names if name][: 2 if quick else None]:
        once, twice = (_count([*command, name, str(n)]) for n in (runs, 2 * runs))
        yield Measure("instructions", name, (twice - once) / runs / 1000, "thousands")


def _count(command: list[str]) -> int:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^instructions (\d+)$", done.stderr, re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise EdgeDetError(f"{Path(command[-3]).name} failed under qemu: {done.stderr.strip()}")
    return int(found[1])
