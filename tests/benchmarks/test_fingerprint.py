"""What a machine tells of itself, read from files of other machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edgedet
from edgedet.benchmarks.fingerprint import describe, fingerprint, instruction_sets

DESKTOP = """\
processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD Ryzen 9 7950X 16-Core Processor
flags\t\t: fpu sse sse2 ssse3 sse4_1 avx f16c fma avx2 avx512f avx512bw avx512_vnni
bugs\t\t: spectre_v1 avx_vnni
"""
CLOUD = DESKTOP.replace("fpu sse", "fpu hypervisor sse")
RASPBERRY_PI_5 = """\
processor\t: 0
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimddp
CPU implementer\t: 0x41
"""


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (DESKTOP, "sse4_1 avx avx2 fma f16c avx512f avx512bw avx512_vnni"),
        (RASPBERRY_PI_5, "asimd asimddp asimdhp"),
        ("", ""),
    ],
)
def test_instruction_sets_that_matter(cpuinfo: str, expected: str) -> None:
    assert instruction_sets(cpuinfo) == expected.split()


@pytest.fixture
def desktop(tmp_path: Path) -> Path:
    for name, text in {
        "proc/cpuinfo": DESKTOP,
        "proc/meminfo": "MemTotal:       65536000 kB\nMemFree: 1 kB\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "5881000\n",
        "etc/os-release": 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_desktop(desktop: Path) -> None:
    machine = fingerprint(desktop)
    assert machine["cpu"] == "AMD Ryzen 9 7950X 16-Core Processor"
    assert machine["governor"] == "powersave"
    assert machine["max_frequency_mhz"] == 5881
    assert machine["memory_bytes"] == 65536000 * 1024
    assert machine["os"] == "Debian GNU/Linux 13 (trixie)"
    assert machine["virtual_machine"] is False
    assert machine["edgedet"] == edgedet.__version__
    assert "numpy" in machine["packages"]


def test_a_virtual_machine(desktop: Path) -> None:
    (desktop / "proc/cpuinfo").write_text(CLOUD)
    assert fingerprint(desktop)["virtual_machine"] is True


def test_a_board_names_itself(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/cpuinfo").write_text(RASPBERRY_PI_5)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert fingerprint(tmp_path)["cpu"] == "Raspberry Pi 5 Model B Rev 1.0"


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    machine = fingerprint(tmp_path)
    assert machine["governor"] is None
    assert machine["memory_bytes"] is None
    assert machine["isa"] == []
    assert "governor unknown" in describe(machine)


def test_it_is_json_and_two_lines_for_people(desktop: Path) -> None:
    machine = fingerprint(desktop)
    assert json.loads(json.dumps(machine)) == machine
    first, second = describe(machine).splitlines()
    assert "Ryzen" in first
    assert "governor powersave" in first
    assert f"edgedet {edgedet.__version__}" in second
