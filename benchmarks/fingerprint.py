"""What a measured latency depends on: the processor, its settings, and the software."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

import edgedet
from edgedet.runtime.cores import physical_cores

# The instruction sets that decide which int8 and float kernels the engines and our own code run.
_X86_FLAGS = (
    "sse4_1",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
)
_ARM_FLAGS = ("neon", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2")

# Distributions whose version changes latency; those not installed are left out.
_PACKAGES = (
    "numpy",
    "pillow",
    "ai-edge-litert",
    "tflite-runtime",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "openvino",
    "opencv-python-headless",
)


def fingerprint(root: str | os.PathLike[str] = "/") -> dict[str, Any]:
    """The machine and the software as JSON values; None where the system doesn't tell.

    Args:
        root: where Linux's `proc` and `sys` are.
    """
    root = Path(root)
    cpuinfo = _read(root / "proc/cpuinfo") or ""
    return {
        "cpu": _cpu_model(cpuinfo, root),
        "architecture": platform.machine(),
        "isa": instruction_sets(cpuinfo),
        "logical_cpus": os.cpu_count(),
        "usable_cores": physical_cores(root / "sys/devices/system/cpu"),
        "governor": _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "max_frequency_mhz": _maximum_mhz(root),
        "virtual_machine": bool(re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE)),
        "memory_bytes": _memory_bytes(root),
        "load_average": _load_average(),
        "os": _os_name(root),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "edgedet": edgedet.__version__,
        "packages": _versions(),
    }


def instruction_sets(cpuinfo: str) -> list[str]:
    """The instruction sets that matter, out of the text of Linux's /proc/cpuinfo."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    return [flag for flag in (*_X86_FLAGS, *_ARM_FLAGS) if flag in flags]


def describe(machine: dict[str, Any]) -> str:
    """The fingerprint in two lines for a terminal."""
    isa = ", ".join(machine["isa"]) or "instruction sets unknown"
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    governor = f"governor {machine['governor'] or 'unknown'}"
    virtual = ", virtual machine" if machine["virtual_machine"] else ""
    return (
        f"{machine['cpu']}, {machine['usable_cores']} cores ({isa}), {governor}{virtual}\n"
        f"{machine['os']}, Python {machine['python']}, edgedet {machine['edgedet']}, {packages}"
    )


def _cpu_model(cpuinfo: str, root: Path) -> str:
    # x86 names the processor; ARM kernels name it not at all, boards name themselves.
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if found:
        return found[1].strip()
    board = _read(root / "proc/device-tree/model")
    return board or platform.processor() or platform.machine()


def _maximum_mhz(root: Path) -> float | None:
    text = _read(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return int(text) / 1000 if text and text.isdigit() else None


def _memory_bytes(root: Path) -> int | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _read(root / "proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _load_average() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _os_name(root: Path) -> str:
    release = _read(root / "etc/os-release") or ""
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', release, re.MULTILINE)
    return found[1] if found else f"{platform.system()} {platform.release()}"


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None
