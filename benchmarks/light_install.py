"""What the light runtime costs: import time, memory, the size of the wheel and of what it needs.

    python benchmarks/light_install.py [--wheel edgedet-*.whl] [--wheels DIRECTORY] [--runs N]

Run it in an environment with the runtime dependencies only. Sizes of the dependencies are those of
their wheels in DIRECTORY (`pip download edgedet -d DIRECTORY`), and of their installed files, as
each one's RECORD lists them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

_IMPORT = """
import time
started = time.perf_counter()
import edgedet
print(1000 * (time.perf_counter() - started))
"""

_MEMORY = """
import json
import sys
from importlib.resources import as_file, files
import edgedet
from edgedet.benchmarks.endurance import resident_bytes
from edgedet.images import read_image
assets = files("edgedet") / "assets"
with as_file(assets / "digits-m0-int8.tflite") as model, as_file(assets / "scene.png") as scene:
    detector = edgedet.Detector(model, threads=1)
    found = detector.detect(read_image(scene))
print(json.dumps([resident_bytes(), len(found)]))
"""


def import_milliseconds(runs: int) -> list[float]:
    """Times of `import edgedet`, each in a process of its own."""
    return [float(_python(_IMPORT)) for _ in range(runs)]


def resident_after_detection() -> tuple[int | None, int]:
    """Resident bytes after loading the bundled model and one detection; and objects found."""
    memory, found = json.loads(_python(_MEMORY))
    return memory, found


def wheel_bytes(path: Path) -> tuple[int, int]:
    """(size of a wheel, its size without the models in it)."""
    with zipfile.ZipFile(path) as archive:
        models = [entry for entry in archive.infolist() if entry.filename.endswith(".tflite")]
        return path.stat().st_size, path.stat().st_size - sum(
            entry.compress_size for entry in models
        )


def runtime_distributions(name: str = "edgedet") -> list[str]:
    """Distributions that a plain install of `name` brings, itself left out, by name.

    Only those that are installed here are followed; extras are left out.
    """
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        try:
            needs = importlib.metadata.requires(current) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for need in needs:
            requirement, _, marker = need.partition(";")
            other = normalized(re.split(r"[\s\[\]<>=!~(;]", requirement.strip(), maxsplit=1)[0])
            if other in found or other == normalized(name) or not _applies(marker):
                continue
            if _is_installed(other):
                found[other] = None
                waiting.append(other)
    return sorted(found)


def installed_bytes(name: str) -> int:
    """Bytes of a distribution's files, as its RECORD lists them."""
    return sum(file.size or 0 for file in importlib.metadata.files(name) or [])


def wheels_in(directory: Path) -> dict[str, int]:
    """Size of the wheel of each distribution in a directory."""
    return {
        normalized(path.name.split("-")[0]): path.stat().st_size
        for path in sorted(directory.glob("*.whl"))
    }


def normalized(name: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _applies(marker: str) -> bool:
    """Whether a requirement's marker holds here; one for an extra doesn't."""
    if "extra" in marker:
        return False
    try:
        from packaging.markers import Marker
    except ImportError:
        return True
    return not marker.strip() or bool(Marker(marker.strip()).evaluate())


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="edgedet's own wheel")
    parser.add_argument("--wheels", type=Path, help="directory of the dependencies' wheels")
    parser.add_argument("--runs", type=int, default=9, help="processes that import edgedet")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be 1 or more")
    for path in (options.wheel, options.wheels):
        if path is not None and not path.exists():
            parser.error(f"there is no {path}")
    times = import_milliseconds(options.runs)
    print(
        f"import edgedet: median {statistics.median(times):.1f} ms of {len(times)} processes "
        f"({min(times):.1f} to {max(times):.1f})"
    )
    memory, found = resident_after_detection()
    told = "unknown" if memory is None else f"{memory / 1e6:.1f} MB"
    print(f"resident after loading the bundled model and one detection ({found} objects): {told}")
    if options.wheel is not None:
        whole, bare = wheel_bytes(options.wheel)
        print(f"wheel: {whole / 1e6:.2f} MB, {bare / 1e6:.2f} MB without the bundled model")
    wheels = {} if options.wheels is None else wheels_in(options.wheels)
    names = runtime_distributions()
    print(f"{'runtime dependency':28} {'download, MB':>14} {'installed, MB':>14}")
    for name in names:
        download = f"{wheels[name] / 1e6:.2f}" if name in wheels else ""
        print(f"{name:28} {download:>14} {installed_bytes(name) / 1e6:14.2f}")
    total = sum(wheels[name] for name in names if name in wheels)
    shown = f"{total / 1e6:.2f}" if total else ""
    print(f"{'together':28} {shown:>14} {sum(map(installed_bytes, names)) / 1e6:14.2f}")


if __name__ == "__main__":
    main()
