"""Programs in environments of their own that take turns at the same work."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from edgedet.errors import EdgeDetError

_WORKERS = Path(__file__).parent / "workers"
_TOLD = 400


class Worker:
    """A contender's process: started, asked, and ended at the end of the `with` block.

    Args:
        python: interpreter of its environment.
        script: name of a file in `workers`.
        options: what the script is to know.
        environment: variables of its process.
    """

    def __init__(
        self,
        python: Path,
        script: str,
        options: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> None:
        self._log: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.name = script
        self._process = subprocess.Popen(
            [str(python), str(_WORKERS / script), json.dumps(dict(options))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=dict(environment),
            text=True,
        )
        try:
            self.facts: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def run(self, runs: int) -> list[float]:
        """Milliseconds of so many detections."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"runs": runs}) + "\n")
        self._process.stdin.flush()
        return [float(value) for value in self._answer()["ms"]]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            told = self._log.read().strip()[-_TOLD:].strip().splitlines() or ["no word"]
            raise EdgeDetError(f"{self.name} ended: {told[-1]}")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def take_turns(workers: Sequence[Worker], rounds: int, runs: int) -> list[list[float]]:
    """Milliseconds of each worker's detections, `runs` of them in each of so many rounds.

    One works at a time. Every other round goes in reverse order.
    """
    times: list[list[float]] = [[] for _ in workers]
    for turn in range(rounds):
        places = range(len(workers))
        for place in places if turn % 2 == 0 else reversed(places):
            times[place] += workers[place].run(runs)
    return times
