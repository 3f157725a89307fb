"""Two results side by side: what is matched, what is refused, and what counts as slower."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.benchmarks.comparison import compare, read_benchmark
from edgedet.errors import InvalidInputError, MissingFileError

MACHINE = {
    "cpu": "Cortex-A76",
    "architecture": "aarch64",
    "isa": ["asimd", "asimddp"],
    "logical_cpus": 4,
    "usable_cores": 4,
    "governor": "performance",
    "max_frequency_mhz": 2400.0,
    "virtual_machine": False,
    "os": "Debian",
    "kernel": "6.6",
    "python": "3.12.1",
    "edgedet": "0.1.0",
    "packages": {"numpy": "2.0"},
}


def entry(name: str = "m0.tflite", threads: int | None = 1, scale: float = 1.0) -> dict[str, Any]:
    rounds = [round(scale * (10 + 0.01 * number), 4) for number in range(10)]
    return {
        "file": f"models/{name}",
        "threads": threads,
        "total": {"p50": float(np.median(rounds))},
        "inference": {"p50": float(np.median(rounds))},
        "rounds": {"total": rounds, "inference": rounds},
        "stability": {"stable": True, "tail": 1.0, "drift": 1.0},
    }


def result(*entries: dict[str, Any], **machine: Any) -> dict[str, Any]:
    return {
        "source": "bundled scene",
        "width": 640,
        "height": 480,
        "results": list(entries) or [entry()],
        "machine": {**copy.deepcopy(MACHINE), **machine},
    }


@pytest.mark.parametrize(
    ("scale", "significant", "slower"),
    [
        pytest.param(1.0, False, False, id="the same"),
        pytest.param(1.2, True, True, id="a fifth slower"),
        pytest.param(0.8, True, False, id="faster"),
        # The rounds lie within 0.9 %: a shift of 3 % is certain, but tolerated.
        pytest.param(1.03, True, False, id="slower by less than tolerated"),
    ],
)
def test_what_counts_as_slower(scale: float, significant: bool, slower: bool) -> None:
    found = compare(result(), result(entry(scale=scale)))
    total, inference = found.changes
    assert (total.stage, inference.stage) == ("total", "inference")
    assert total.difference.ratio == pytest.approx(scale)
    assert total.significant is significant
    assert [change.stage for change in found.slower_than(5)] == ["total"] * slower


def test_a_difference_that_chance_could_make_is_not_slower() -> None:
    noisy, noisier = entry(), entry(scale=1.2)
    noisy["rounds"]["total"] = [8, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    noisier["rounds"]["total"] = [9, 10.5, 11.5, 12.5, 13.5, 15.5, 16.5, 17.5, 18.5, 19.5]
    found = compare(result(noisy), result(noisier))
    assert found.changes[0].difference.ratio > 1.1
    assert found.slower_than(5) == []


def test_equal_detectors_fail_a_gate_seldom() -> None:
    random = np.random.default_rng(4)
    failed = 0
    for _ in range(80):
        sides = [entry(), entry()]
        for side in sides:
            side["rounds"]["total"] = random.normal(10, 0.5, 10).tolist()
        failed += bool(compare(result(sides[0]), result(sides[1])).slower_than(0))
    # One half of the level of 0.01 lies on the slower side.
    assert failed <= 2


def test_results_are_matched_by_name_and_threads() -> None:
    before = result(entry("a"), entry("a", 2), entry("b"), entry("old"))
    after = result(entry("b", scale=2), entry("a", 2), entry("a"), entry("new", None))
    found = compare(before, after)
    assert [(change.file, change.threads) for change in found.changes[::2]] == [
        ("b", 1),
        ("a", 2),
        ("a", 1),
    ]
    assert found.changes[0].difference.ratio == 2
    assert found.only_before == ("old with threads 1",)
    assert found.only_after == ("new with threads auto",)


def test_the_same_name_in_two_directories_is_matched_in_order() -> None:
    before, after = [entry("a"), entry("a", scale=3)], [entry("a"), entry("a", scale=6)]
    found = compare(result(*before), result(*after))
    assert [change.difference.ratio for change in found.changes[::2]] == [1, 2]
    assert found.changes[2].file == "a (2)"


def test_single_files_are_compared_whatever_their_names() -> None:
    found = compare(result(entry("a"), entry("a", 2)), result(entry("b"), entry("b", 2)))
    assert len(found.changes) == 4
    assert found.notes == ("file: a before, b now",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cpu": "Cortex-A55"}, "processor: Cortex-A76 before, Cortex-A55 now"),
        ({"governor": None}, "frequency governor: performance before, unknown now"),
        ({"isa": []}, "instruction sets: asimd asimddp before, none now"),
        ({"virtual_machine": True}, "virtual machine: no before, yes now"),
    ],
)
def test_another_machine_is_refused_unless_asked_for(change: dict[str, Any], told: str) -> None:
    after = result(entry(), **change)
    with pytest.raises(InvalidInputError, match="different machines") as refused:
        compare(result(), after)
    assert told in str(refused.value)
    assert told in compare(result(), after, across_machines=True).notes


def test_other_software_is_told() -> None:
    found = compare(result(), result(entry(), packages={"numpy": "2.1"}, edgedet="0.2.0"))
    assert found.notes == ("edgedet: 0.1.0 before, 0.2.0 now", "numpy: 2.0 before, 2.1 now")


def test_results_that_are_not_stable_are_told() -> None:
    shaky = entry()
    shaky["stability"]["stable"] = False
    assert compare(result(), result(shaky)).notes == ("m0.tflite with threads 1: not stable now",)


def test_another_picture_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"different pictures \(its width: 640 before, 320"):
        compare(result(), {**result(), "width": 320})


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="nothing in common: a with threads 1, b with"):
        compare(result(entry("a"), entry("b")), result(entry("c"), entry("d")))


def test_a_result_of_an_earlier_release_is_refused() -> None:
    old = entry()
    del old["rounds"]
    with pytest.raises(InvalidInputError, match="has no round medians"):
        compare(result(old), result())


def test_the_comparison_as_json_values() -> None:
    found = compare(result(), result(entry(scale=1.5)))
    content = json.loads(json.dumps(found.to_dict()))
    assert content["changes"][0]["ratio"] == 1.5
    assert content["changes"][0]["significant"] is True
    assert content["level"] == 0.01


def test_a_stored_result_is_read(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps(result()))
    assert read_benchmark(path) == result()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "can't be read as JSON"),
        ("[]", "is no result of"),
        ("{}", "is no result of"),
        ('{"machine": {}, "results": []}', "is no result of"),
        ('{"machine": {}, "results": [{"file": "a"}]}', "is no result of"),
        ('{"machine": {}, "results": [7]}', "is no result of"),
    ],
)
def test_another_file_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=sentence):
        read_benchmark(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.json"):
        read_benchmark(tmp_path / "none.json")


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *entries: dict[str, Any], **machine: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(result(*entries, **machine)))
        return path

    return write


def test_the_command_prints_the_comparison(
    written: Callable[..., Path], edgedet: Callable[..., Any]
) -> None:
    sides = written("a.json"), written("b.json", entry(scale=1.2))
    outcome = edgedet("benchmark", "--compare", *sides)
    assert outcome.code == 0
    assert "+20.0 %" in outcome.out
    assert "slower" in outcome.out
    assert "Mann-Whitney" in outcome.out


@pytest.mark.parametrize(("tolerated", "code"), [(10, 1), (30, 0)])
def test_the_gate(
    tolerated: int, code: int, written: Callable[..., Path], edgedet: Callable[..., Any]
) -> None:
    sides = written("a.json"), written("b.json", entry(scale=1.2))
    outcome = edgedet("benchmark", "--compare", *sides, "--fail-above", tolerated)
    assert outcome.code == code
    assert ("slower by 20.0 %, more than 10 %" in outcome.out) is bool(code)
    asked = edgedet("benchmark", "--compare", *sides, "--fail-above", tolerated, "--json")
    assert asked.code == code
    assert json.loads(asked.out)["met"] is not bool(code)


def test_the_command_refuses_another_machine(
    written: Callable[..., Path], edgedet: Callable[..., Any]
) -> None:
    sides = written("a.json"), written("b.json", cpu="other")
    outcome = edgedet("benchmark", "--compare", *sides)
    assert outcome.code == 2
    assert "processor: Cortex-A76 before, other now" in outcome.err
    assert edgedet("benchmark", "--compare", *sides, "--across-machines").code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--fail-above", "-1"], "--fail-above must be 0 or more"),
        (["m0.tflite"], "leave the model files out"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str],
    sentence: str,
    written: Callable[..., Path],
    edgedet: Callable[..., Any],
) -> None:
    outcome = edgedet("benchmark", "--compare", written("a.json"), written("b.json"), *words)
    assert outcome.code == 2
    assert sentence in outcome.err


def test_a_gate_without_a_comparison_is_refused(edgedet: Callable[..., Any]) -> None:
    outcome = edgedet("benchmark", "m0.tflite", "--fail-above", 5)
    assert outcome.code == 2
    assert "belong to --compare" in outcome.err
