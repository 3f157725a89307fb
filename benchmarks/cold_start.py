"""The first detection of a fresh process: what a user waits for after starting an application.

Run as a script it is that process; `measure_cold_start` starts it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.errors import EdgeDetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TIMEOUT_S = 600


@dataclass(frozen=True)
class ColdStart:
    """Times in milliseconds from a started interpreter on, and the memory at its highest.

    Attributes:
        import_ms: importing the packages.
        load_ms: constructing the `Detector`.
        first_detect_ms: the first call of `detect`.
        peak_memory_bytes: most memory that was resident; None where the system doesn't tell.
    """

    import_ms: float
    load_ms: float
    first_detect_ms: float
    peak_memory_bytes: int | None

    @property
    def total_ms(self) -> float:
        """Import, load and first detection together."""
        return self.import_ms + self.load_ms + self.first_detect_ms


def measure_cold_start(
    model: str | os.PathLike[str], image: NDArray[np.uint8], threads: int
) -> ColdStart:
    """Construct a detector and run it once in a new process.

    The file may lie in the system's page cache, so the time of a slow disk is not in the figure.

    Args:
        model: the model file.
        image: [H, W, 3] uint8 RGB.
        threads: threads of the engine.

    Raises:
        EdgeDetError: the process failed.
    """
    height, width = image.shape[:2]
    # As a script, not with -m, so that a folder `edgedet` in the working directory is not imported.
    command = [sys.executable, str(Path(__file__).resolve())]
    command += [os.fspath(model), str(threads), str(height), str(width)]
    try:
        done = subprocess.run(
            command, input=image.tobytes(), capture_output=True, check=True, timeout=_TIMEOUT_S
        )
        return ColdStart(**json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.SubprocessError, ValueError, TypeError, IndexError) as error:
        said = (getattr(error, "stderr", None) or b"").decode("utf-8", "replace").splitlines()
        reason = said[-1] if said else str(error)
        raise EdgeDetError(f"{model}: the cold start could not be measured ({reason}).") from None


def _peak_memory_bytes() -> int | None:
    # Linux's getrusage counts the parent's memory too, which a child shares until it executes.
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        status = ""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, kibibytes elsewhere.
    return peak if sys.platform == "darwin" else peak * 1024


def main(arguments: list[str]) -> None:
    """Print the times of this process as JSON; the image's bytes come on standard input."""
    model, threads, height, width = arguments
    pixels = sys.stdin.buffer.read()
    started = time.perf_counter()
    import numpy as np

    from edgedet.runtime.detector import Detector

    imported = time.perf_counter()
    image = np.frombuffer(pixels, np.uint8).reshape(int(height), int(width), 3)
    detector = Detector(model, threads=int(threads))
    loaded = time.perf_counter()
    detector.detect(image)
    done = time.perf_counter()
    times = {
        "import_ms": 1000 * (imported - started),
        "load_ms": 1000 * (loaded - imported),
        "first_detect_ms": 1000 * (done - loaded),
        "peak_memory_bytes": _peak_memory_bytes(),
    }
    print(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1:])
