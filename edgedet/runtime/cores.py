"""How many threads inference gets when the user doesn't say."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

# Small networks stop gaining beyond this, and phones' big clusters have two to four cores.
_MOST_THREADS = 4

_TOPOLOGY = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def default_threads() -> int:
    """At most 4, at most the physical cores this process may use, at least 1."""
    return max(1, min(_MOST_THREADS, physical_cores(_TOPOLOGY), quota_cores(_QUOTA)))


def physical_cores(topology: Path) -> int:
    """Physical cores among the CPUs this process may run on.

    Two hyper-threads of a core share its multipliers: a thread on each gains nothing. Where the
    topology (Linux, `/sys/devices/system/cpu`) is unknown, logical CPUs are counted.
    """
    try:
        usable = os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return os.cpu_count() or 1
    cores = set()
    for cpu in usable:
        try:
            siblings = (topology / f"cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            return len(usable)
        cores.add(siblings.strip())
    return len(cores)


def quota_cores(quota: Path) -> int:
    """CPUs that a container's quota (cgroup v2, `cpu.max`) amounts to, rounded up."""
    try:
        limits = re.fullmatch(r"(\d+) (\d+)\s*", quota.read_text())
    except OSError:
        return _MOST_THREADS
    if limits is None or not int(limits[2]):
        return _MOST_THREADS
    return math.ceil(int(limits[1]) / int(limits[2]))
