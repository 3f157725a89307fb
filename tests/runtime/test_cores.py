from __future__ import annotations

import os

import pytest

from edgedet.runtime import cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Pretends to be a machine: the siblings of each CPU, and those this process may use."""

    def make(siblings, usable=None):
        for cpu, group in enumerate(siblings):
            place = tmp_path / f"cpu{cpu}" / "topology"
            place.mkdir(parents=True)
            (place / "thread_siblings_list").write_text(group + "\n")
        usable = set(range(len(siblings))) if usable is None else usable
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable, raising=False)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("siblings", "usable", "expected"),
    [
        (["0", "1"], None, 2),
        (["0,2", "1,3", "0,2", "1,3"], None, 2),
        (["0-1", "0-1", "2-3", "2-3"], None, 2),
        (["0,2", "1,3", "0,2", "1,3"], {1, 3}, 1),
        (["0,2", "1,3", "0,2", "1,3"], {0}, 1),
    ],
)
def test_hyper_threads_of_a_core_count_once(machine, siblings, usable, expected):
    assert cores.physical_cores(machine(siblings, usable)) == expected


def test_without_topology_every_usable_cpu_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    assert cores.physical_cores(tmp_path) == 3


def test_without_affinity_the_system_is_asked(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.physical_cores(tmp_path) == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("max 100000\n", 4),
        ("damaged", 4),
        ("1 0\n", 4),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path, text, expected):
    (tmp_path / "cpu.max").write_text(text)
    assert cores.quota_cores(tmp_path / "cpu.max") == expected


def test_without_quota_nothing_is_limited(tmp_path):
    assert cores.quota_cores(tmp_path / "cpu.max") == 4


@pytest.mark.parametrize(
    ("physical", "quota", "expected"), [(1, 4, 1), (2, 4, 2), (64, 4, 4), (8, 1, 1), (3, 4, 3)]
)
def test_the_default_is_the_smallest_of_the_limits(monkeypatch, physical, quota, expected):
    monkeypatch.setattr(cores, "physical_cores", lambda _: physical)
    monkeypatch.setattr(cores, "quota_cores", lambda _: quota)
    assert cores.default_threads() == expected
