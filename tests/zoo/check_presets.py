"""Check every preset of the zoo, or those named: `python tests/zoo/check_presets.py [NAME ...]`.

Each preset is built at its own input size, and at a small one saved, reloaded, compared between
the TensorFlow and the JAX backend and trained in mixed_bfloat16 and mixed_float16, in processes of
its own. Not a test that pytest collects: all presets take about an hour on two cores.

Computed alike means that every output of a reloaded file equals the saved network's bit for bit,
and that JAX's lies within 1e-4 of TensorFlow's: max |a - b| / max |b| of each output.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from one_preset import TELLING

from edgedet.models.presets import presets

LIMIT = 1e-4
"""Largest difference between the backends (docs/oracles.md takes the same)."""
BUILD_LIMITS = {"eff-spinenet-m0": 5.0, "efficientdet-d7": 60.0}
"""Processor seconds that building may take, at the preset's own input size."""
PROCESS = Path(__file__).with_name("one_preset.py")

_COLUMNS = (
    f"{'preset':26} {'build s':>7} {'cpu s':>6} {'at':>4} {'reload':>7} {'spread':>7} "
    f"{'JAX':>8}  {'bfloat16':>8}  {'float16':>8}  {'JAX bf16':>8}  {'JAX f16':>8}"
)


def main() -> int:
    """Check what the command line names; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[2])
    known = [preset.name for preset in presets()]
    parser.add_argument("names", nargs="*", metavar="NAME", help="presets; default: all")
    parser.add_argument(
        "--jax-steps",
        default="",
        metavar="NAME,...",
        help="train these, or `all`, under JAX too: minutes each",
    )
    parser.add_argument("--no-steps", action="store_true", help="compare only, train nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--timeout", type=float, default=1800.0, metavar="SECONDS", help="of each process"
    )
    wanted = parser.parse_args()
    names = wanted.names or known
    stepped = names if wanted.jax_steps == "all" else [n for n in wanted.jax_steps.split(",") if n]
    if unknown := {*names, *stepped} - {*known}:
        parser.error(f"no preset is called {', '.join(sorted(unknown))}")

    print(_COLUMNS, flush=True)
    results: dict[str, dict[str, Any]] = {}
    for name in names:
        options = {
            "tensorflow": ["--no-steps"] if wanted.no_steps else [],
            "jax": ["--steps"] if name in stepped else [],
        }
        figures = check(name, options, timeout=wanted.timeout)
        results[name] = figures
        print(line(name, figures), flush=True)
        for fault in figures["faults"]:
            print(f"  {fault}", flush=True)
        if wanted.json:
            wanted.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    failed = [name for name, figures in results.items() if figures["faults"]]
    print(f"\n{_COLUMNS}")
    for name, figures in results.items():
        print(line(name, figures))
    print(f"\n{len(results) - len(failed)} of {len(results)} pass", end="")
    print(f"; not: {', '.join(failed)}" if failed else "")
    return int(bool(failed))


def check(name: str, options: dict[str, list[str]], *, timeout: float) -> dict[str, Any]:
    """Figures of one preset, as `one_preset.py` describes them, its `faults` and `seconds`.

    Args:
        name: the preset.
        options: backends in the order to run, and what more each process is told.
        timeout: of each process, in seconds.
    """
    began = time.perf_counter()
    figures: dict[str, Any] = {}
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        for backend, extra in options.items():
            try:
                run(backend, name, directory, *extra, timeout=timeout)
                figures |= json.loads(Path(directory, f"{backend}.json").read_text("utf-8"))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                faults.append(f"{backend}: {error}")
                break
    faults += judge(name, figures)
    return {**figures, "faults": faults, "seconds": time.perf_counter() - began}


def run(backend: str, *words: str, timeout: float) -> None:
    """Run `one_preset.py` under a backend.

    Raises:
        RuntimeError: it failed; the message is its last line.
        subprocess.TimeoutExpired: it took too long.
    """
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(PROCESS), backend, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        # A process killed for want of memory says nothing.
        told = done.stderr.strip() or f"exit status {done.returncode}"
        raise RuntimeError(told.splitlines()[-1])


def judge(name: str, figures: dict[str, Any]) -> list[str]:
    """What is wrong with the figures, a sentence each."""
    faults = []
    limit = BUILD_LIMITS.get(name)
    if limit is not None and figures.get("build_cpu_seconds", 0.0) > limit:
        faults.append(f"building takes {figures['build_cpu_seconds']:.1f} s, allowed {limit:g}")
    if differs := figures.get("reload_differs"):
        faults.append(f"reloaded, it computes otherwise: {', '.join(differs)}")
    spread, error = figures.get("spread", 1.0), figures.get("jax_error", 0.0)
    if not spread >= TELLING:
        faults.append(f"an output hardly varies ({spread:.1e}): nothing is compared")
    if not error <= LIMIT:
        faults.append(f"JAX differs by {error:.1e} in {figures['jax_output']}")
    for prefix in ("", "jax_"):
        for policy, loss in figures.get(f"{prefix}losses", {}).items():
            if not 0 < loss < float("inf"):  # nor NaN
                faults.append(f"{prefix}{policy}: the loss is {loss}")
        for policy in figures.get(f"{prefix}spoilt", []):
            faults.append(f"{prefix}{policy}: a variable is not finite after a step")
    return faults


def line(name: str, figures: dict[str, Any]) -> str:
    """One row of the table; a dash where nothing was measured."""

    def shown(key: str, form: str) -> str:
        return format(figures[key], form) if key in figures else "-"

    reload = "-"
    if "reload_differs" in figures:
        reload = "differs" if figures["reload_differs"] else "equal"
    losses = [
        format(figures[f"{prefix}losses"][policy], ".4f") if f"{prefix}losses" in figures else "-"
        for prefix in ("", "jax_")
        for policy in ("mixed_bfloat16", "mixed_float16")
    ]
    return (
        f"{name:26} {shown('build_seconds', '7.1f'):>7} {shown('build_cpu_seconds', '6.1f'):>6} "
        f"{shown('size', 'd'):>4} {reload:>7} {shown('spread', '.1e'):>7} "
        f"{shown('jax_error', '.1e'):>8}  " + "  ".join(f"{each:>8}" for each in losses)
    )


if __name__ == "__main__":
    sys.exit(main())
