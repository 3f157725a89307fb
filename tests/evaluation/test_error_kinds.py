"""Mistakes by kind: by hand, and as TIDE's authors' own program sorts them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.evaluation.error_kinds import KINDS, ErrorBreakdown, error_breakdown
from edgedet.evaluation.matching import Matches, match

MakeMatches = Callable[..., Matches]

CAT, DOG, BIRD = range(3)
A = (0.0, 0.0, 100.0, 100.0)
A_SHIFTED = (10.0, 0.0, 100.0, 100.0)
A_LOOSE = (60.0, 0.0, 100.0, 100.0)  # IoU with A 40 / 160
A_FAR = (90.0, 0.0, 100.0, 100.0)  # IoU with A 10 / 190, under 0.1
B = (300.0, 300.0, 50.0, 50.0)
INSIDE_B = (310.0, 310.0, 10.0, 10.0)

CASES: dict[str, tuple[list[Any], list[Any], dict[str, int]]] = {
    "no mistake": ([(CAT, A)], [(CAT, A, 0.9)], {}),
    # An object that a mistake of class or place covers isn't missed as well.
    "class": ([(CAT, A)], [(DOG, A, 0.9)], {"class": 1}),
    "localization": ([(CAT, A)], [(CAT, A_LOOSE, 0.9)], {"localization": 1}),
    "both": ([(CAT, A)], [(DOG, A_LOOSE, 0.9)], {"both": 1, "missed": 1}),
    "duplicate": ([(CAT, A)], [(CAT, A, 0.9), (CAT, A_SHIFTED, 0.8)], {"duplicate": 1}),
    "background": ([(CAT, A)], [(CAT, A, 0.9), (CAT, B, 0.8)], {"background": 1}),
    "too little overlap": ([(CAT, A)], [(CAT, A_FAR, 0.9)], {"background": 1, "missed": 1}),
    "missed": ([(CAT, A), (DOG, B)], [(CAT, A, 0.9)], {"missed": 1}),
    "nothing there": ([], [(CAT, A, 0.9)], {"background": 1}),
    "on another image": ([(CAT, A)], [(CAT, A, 0.9, 6)], {"background": 1, "missed": 1}),
    "a place before a class": (
        [(CAT, A), (DOG, A_LOOSE)],
        [(CAT, A_LOOSE, 0.9)],
        {"localization": 1, "missed": 1},
    ),
    "a class before a duplicate": (
        [(CAT, A), (DOG, A_SHIFTED)],
        [(CAT, A, 0.9), (CAT, A_SHIFTED, 0.8)],
        {"class": 1},
    ),
    "not sure enough": ([(CAT, A)], [(DOG, A, 0.2)], {"missed": 1}),
    "found, but not surely": ([(CAT, A)], [(CAT, A, 0.2)], {"missed": 1}),
    "inside a crowd": ([(CAT, B, "crowd")], [(CAT, INSIDE_B, 0.9)], {}),
    "a crowd is no object of another class": (
        [(DOG, B, "crowd")],
        [(CAT, B, 0.9)],
        {"background": 1},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_counts_are_those_of_the_hand(name: str, matched: MakeMatches) -> None:
    objects, found, counts = CASES[name]
    breakdown = error_breakdown(matched(objects, found))
    assert breakdown.counts == {**dict.fromkeys(KINDS, 0), **counts}


def test_a_second_guess_is_a_wrong_class_on_an_object_that_is_found(matched: MakeMatches) -> None:
    objects = [(CAT, A), (CAT, B)]
    found = [(CAT, A, 0.6), (DOG, A, 0.5), (BIRD, B, 0.7), (CAT, B, 0.1)]
    breakdown = error_breakdown(matched(objects, found))
    assert (breakdown.counts["class"], breakdown.found_as_well) == (2, 1)


@pytest.mark.parametrize(
    ("objects", "found", "kind", "cost"),
    [
        # Each halves or zeroes AP50, and mending it makes it 1.
        pytest.param([(CAT, A)], [(DOG, A, 0.9)], "class", 1.0, id="class"),
        pytest.param([(CAT, A)], [(CAT, A_LOOSE, 0.9)], "localization", 1.0, id="localization"),
        pytest.param(
            [(CAT, A)], [(DOG, A_LOOSE, 0.9), (CAT, A, 0.5)], "both", 0.0, id="another class"
        ),
        pytest.param(
            [(CAT, A), (DOG, B)],
            [(DOG, A_LOOSE, 0.9), (CAT, A, 0.5), (DOG, B, 0.4)],
            "both",
            0.25,
            id="both",
        ),
        pytest.param([(CAT, A)], [(CAT, B, 0.9), (CAT, A, 0.5)], "background", 0.5, id="nothing"),
        pytest.param(
            [(CAT, A), (CAT, B)], [(CAT, A, 0.9)], "missed", 1 - 51 / 101, id="half missed"
        ),
        pytest.param([(CAT, A), (DOG, B)], [(CAT, A, 0.9)], "missed", 0.5, id="all of a class"),
        pytest.param(
            [(CAT, A), (CAT, B)],
            [(CAT, A, 0.9), (CAT, A_SHIFTED, 0.8), (CAT, B, 0.7)],
            "duplicate",
            1 - (51 + 50 * 2 / 3) / 101,
            id="duplicate",
        ),
        # Of two boxes beside an object only one can be mended; the other goes.
        pytest.param(
            [(CAT, A)],
            [(CAT, A_LOOSE, 0.9), (CAT, A_LOOSE, 0.8)],
            "localization",
            1.0,
            id="two beside one",
        ),
    ],
)
def test_costs_are_those_of_the_hand(
    objects: list[Any], found: list[Any], kind: str, cost: float, matched: MakeMatches
) -> None:
    assert error_breakdown(matched(objects, found)).cost[kind] == pytest.approx(cost)


def test_costs_are_of_all_detections_and_counts_of_those_shown(matched: MakeMatches) -> None:
    breakdown = error_breakdown(matched([(CAT, A)], [(DOG, A, 0.1)]), 0.25)
    assert breakdown.counts["class"] == 0
    assert breakdown.cost["class"] == pytest.approx(1)


def test_without_objects_nothing_costs(matched: MakeMatches) -> None:
    assert set(error_breakdown(matched([], [(CAT, A, 0.9)])).cost.values()) == {0.0}


# Scenes with what tidecv 1.0.1 (https://github.com/dbolya/tide) makes of them: TIDERun with its
# thresholds 0.5 and 0.1, and the difference of get_mAP() with and without fix_errors.
SCENES = json.loads((Path(__file__).parent / "data" / "tide.json").read_text())


@pytest.mark.parametrize("scene", SCENES, ids=range(len(SCENES)))
def test_tides_own_program_says_the_same(scene: dict[str, Any]) -> None:
    breakdown: ErrorBreakdown = error_breakdown(match(scene["truth"], scene["predictions"]), 0.0)
    assert breakdown.counts == scene["counts"]
    assert breakdown.cost == pytest.approx(scene["cost"], abs=1e-4)
