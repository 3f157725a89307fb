"""The native runtime beside what people use otherwise: one thread, medians, one process.

    python -m edgedet.benchmarks.native_runtime [--build DIR] [--only TASK ...] [--quick] [--json]

Prints our times, each peer's, their ratios and the project's bars; then all of it again with the
kernels for AVX2 alone, from a process of its own. Asserts nothing: on a busy machine times and even
ratios are worth little. `make bench-native` builds and installs what it compares with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedet import ops
from edgedet.benchmarks.fingerprint import describe, fingerprint
from edgedet.benchmarks.native_fusing import measure_fusion
from edgedet.benchmarks.native_instructions import measure_instructions
from edgedet.benchmarks.native_letterboxing import measure_letterbox
from edgedet.benchmarks.native_peers import Peers
from edgedet.benchmarks.native_postprocessing import measure_memory, measure_postprocess
from edgedet.benchmarks.native_suppression import measure_nms, measure_soft_nms
from edgedet.benchmarks.native_timing import Comparison, Row, from_json, tables, to_json
from edgedet.errors import EdgeDetError

TASKS: dict[str, Callable[[Peers, bool], Iterable[Row]]] = {
    "nms": measure_nms,
    "soft-nms": measure_soft_nms,
    "postprocess": measure_postprocess,
    "letterbox": measure_letterbox,
    "fusion": measure_fusion,
    "memory": measure_memory,
    "instructions": measure_instructions,
}
# Counted under qemu, whatever this machine runs.
_NEON = "instructions"
_ONCE = ("memory", _NEON)
_SECOND_ISA = "avx2"


def measure(
    tasks: Iterable[str], peers: Peers, quick: bool, progress: Callable[[str], None]
) -> list[Row]:
    """The rows of these tasks, with the instruction set that this process uses.

    Args:
        tasks: names out of `TASKS`.
        peers: what to compare with.
        quick: small inputs and few rounds, to see that everything runs.
        progress: called with each task's name before it.
    """
    rows: list[Row] = []
    for task in tasks:
        progress(task)
        rows += TASKS[task](peers, quick)
    # The bars are for the full sizes.
    return [
        replace(row, bar=None) if quick and isinstance(row, Comparison) else row for row in rows
    ]


def measure_again(isa: str, arguments: list[str]) -> list[Row]:
    """The rows that this script finds in another process, which uses an instruction set.

    Raises:
        EdgeDetError: that process failed.
    """
    command = [sys.executable, "-m", "edgedet.benchmarks.native_runtime", "--json", "--one"]
    done = subprocess.run(
        [*command, *arguments],
        env={**os.environ, "EDGEDET_FORCE_ISA": isa},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EdgeDetError(f"The benchmark failed with EDGEDET_FORCE_ISA={isa}.")
    return [from_json(row) for row in json.loads(done.stdout)["results"][isa]]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, help="CMake's build directory of the peers")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--quick", action="store_true", help="small inputs, few rounds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--one", action="store_true", help="with one instruction set only")
    options = parser.parse_args(arguments)

    def progress(task: str) -> None:
        if not options.json:
            print(f"{task} ...", file=sys.stderr, flush=True)

    peers = Peers(options.build)
    isa = ops.isa()
    neon: list[Row] = []
    try:
        here = [task for task in options.only if task != _NEON]
        results = {isa: measure(here, peers, options.quick, progress)} if here else {}
        again = [task for task in options.only if task not in _ONCE]
        if again and not options.one and _runs_avx2(isa):
            progress(f"all again, {_SECOND_ISA}")
            passed = ["--only", *again, *(["--quick"] if options.quick else [])]
            passed += ["--build", str(options.build)] if options.build else []
            results[_SECOND_ISA] = measure_again(_SECOND_ISA, passed)
        if _NEON in options.only:
            neon = measure([_NEON], peers, options.quick, progress)
    except EdgeDetError as error:
        parser.exit(2, f"error: {error}\n")
    machine = fingerprint()
    if options.json:
        print(json.dumps(_content(machine, results | {"neon": neon}, peers.missing)))
        return
    print(f"{describe(machine)}\n")
    for part in (results, {"neon": neon}):
        if any(part.values()):
            print(tables(part))
    for sentence in peers.missing:
        print(sentence)


def _runs_avx2(isa: str) -> bool:
    from edgedet import _native

    return isa != _SECOND_ISA and _SECOND_ISA in _native.isas()


def _content(
    machine: dict[str, Any], results: dict[str, list[Row]], missing: list[str]
) -> dict[str, Any]:
    return {
        "machine": machine,
        "results": {isa: [to_json(row) for row in rows] for isa, rows in results.items()},
        "missing": missing,
    }


if __name__ == "__main__":
    main()
