"""Whole detections, from a decoded picture to final boxes, by edgedet and by others.

    python -m edgedet.benchmarks.peers FILE... [--threads 1] [--conf 0.25] [--rounds 10] [--runs 20]
                                       [--environments DIRECTORY] [--ours-only] [--json FILE]

FILE is what `edgedet convert` wrote; `convert --nms` writes what MediaPipe and model_api run. Each
contender is a process of its own, in an environment of its own that is installed here once, and is
confined to as many cores as threads. All of them detect on the same picture, 1280x720, and take
turns in rounds. What can't be installed or run is told and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet.benchmarks.fingerprint import describe, fingerprint
from edgedet.benchmarks.native_timing import table
from edgedet.benchmarks.peers.contenders import ENVIRONMENTS, Contender, of_file, of_others
from edgedet.benchmarks.peers.turns import Worker, take_turns
from edgedet.benchmarks.pictures import standard_picture
from edgedet.errors import EdgeDetError
from edgedet.files import write_text

_SIZE = (1280, 720)
_IOU = 0.5
# Libraries that ask nobody how many threads to start.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Result:
    """A contender's times.

    Attributes:
        contender: who.
        milliseconds: median of a whole detection.
        boxes: how many it finds.
        multiply_adds: of its network; None where they can't be told.
        facts: what else its worker tells, such as versions.
    """

    contender: Contender
    milliseconds: float
    boxes: int
    multiply_adds: float | None
    facts: dict[str, Any]


def measure(
    contenders: Sequence[Contender],
    environments: Path,
    *,
    threads: int,
    conf: float,
    rounds: int,
    runs: int,
) -> tuple[list[Result], list[str]]:
    """Run all contenders in turns.

    Returns:
        The results, and a sentence on each contender that could not take part.
    """
    missing = []
    taking: list[tuple[Contender, Worker]] = []
    variables = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        picture = Path(scratch) / "picture.npy"
        np.save(picture, _scene())
        for contender in contenders:
            options = {
                "threads": threads, "picture": str(picture), "conf": conf, "iou": _IOU,
                **contender.options,
            }  # fmt: skip
            try:
                python = interpreter(contender.environment, environments)
                worker = stack.enter_context(Worker(python, contender.script, options, variables))
            except EdgeDetError as error:
                missing.append(f"{contender.network}, {contender.program}: {error}")
                continue
            taking.append((contender, worker))
        times = take_turns([worker for _, worker in taking], rounds, runs)
        return [
            Result(
                contender,
                median(mine),
                worker.facts["boxes"],
                worker.facts.get("multiply_adds", contender.multiply_adds),
                worker.facts,
            )
            for (contender, worker), mine in zip(taking, times, strict=True)
        ], missing


def _scene() -> npt.NDArray[np.uint8]:
    """The bundled scene at the height wanted, and as much of it again as the width takes."""
    width, height = _SIZE
    scene = Image.fromarray(standard_picture())
    fitted = scene.resize((round(scene.width * height / scene.height), height))
    return np.concatenate([np.asarray(fitted)] * 2, axis=1)[:, :width].copy()


def interpreter(name: str, directory: Path) -> Path:
    """The Python of an environment, which is made and filled the first time.

    Raises:
        EdgeDetError: its packages can't be installed.
    """
    if name == "edgedet":
        return Path(sys.executable)
    place = directory / name
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = place / ".complete"
    if complete.is_file():
        return python
    print(f"installing {', '.join(ENVIRONMENTS[name])} into {place}", file=sys.stderr)
    venv.create(place, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *ENVIRONMENTS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise EdgeDetError(f"its packages can't be installed ({reason})")
    complete.touch()
    return python


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Lines of the table: each contender beside the fastest of ours at its input size."""
    lines: list[tuple[str, ...]] = []
    for result in sorted(results, key=lambda one: (one.contender.size, one.milliseconds)):
        who = result.contender
        ours = [
            one.milliseconds
            for one in results
            if one.contender.ours and one.contender.size == who.size
        ]
        ratio = f"{result.milliseconds / min(ours):.2f}" if ours else ""
        adds = "" if result.multiply_adds is None else f"{result.multiply_adds / 1e9:.2f}"
        lines.append(
            (who.network, who.program, str(who.size), adds, who.published, str(result.boxes),
             f"{result.milliseconds:.2f}", ratio)
        )  # fmt: skip
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table, and write it as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--conf", type=float, default=0.25, help="least confidence of a box")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=20, help="of each round")
    parser.add_argument("--environments", type=Path, default=Path("build/peers"))
    parser.add_argument("--ours-only", action="store_true", help="our networks, others' programs")
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args(arguments)
    try:
        contenders = [one for path in options.files for one in of_file(path)]
        if not options.ours_only:
            sizes = {one.size for one in contenders}
            contenders += of_others(sizes, options.environments / "networks")
    except EdgeDetError as error:
        parser.error(str(error))
    results, missing = measure(
        contenders,
        options.environments.absolute(),
        threads=options.threads,
        conf=options.conf,
        rounds=options.rounds,
        runs=options.runs,
    )
    machine = fingerprint()
    print(describe(machine))
    print(
        f"{options.threads} threads, picture {_SIZE[0]}x{_SIZE[1]}, conf {options.conf}, iou {_IOU}"
    )
    head = ("network", "run by", "input", "G mult-adds", "COCO AP", "boxes", "ms", "x ours")
    print(table(head, rows(results)))
    for sentence in missing:
        print(f"left out: {sentence}")
    if options.json:
        write_text(options.json, json.dumps(_content(results, missing, machine), indent=2))


def _content(
    results: Sequence[Result], missing: Sequence[str], machine: dict[str, Any]
) -> dict[str, Any]:
    return {
        "machine": machine,
        "left_out": list(missing),
        "results": [
            {
                "network": one.contender.network,
                "program": one.contender.program,
                "size": one.contender.size,
                "multiply_adds": one.multiply_adds,
                "published": one.contender.published,
                "ms": one.milliseconds,
                **one.facts,
            }
            for one in results
        ],
    }


if __name__ == "__main__":
    main()
