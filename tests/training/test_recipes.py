"""Recipes: what the papers print, and what a wrong file is told."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.training import TrainingOptions
from edgedet.training.recipes import (
    auto_epochs,
    names,
    options_from,
    parse_changes,
    read_recipe,
)


def test_the_bundled_recipes_are_listed() -> None:
    assert names() == ("eff_spinenet_mobile", "efficientdet", "finetune", "nas_fpn", "qat")


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        # EfficientDet, section 5.1.
        (
            "efficientdet",
            {
                "epochs": 300,
                "batch_size": 128,
                "optimizer": "sgd",
                "momentum": 0.9,
                "weight_decay": 4e-5,
                "learning_rate": 0.16,
                "warmup_epochs": 1,
                "schedule": "cosine",
                "average_decay": 0.9998,
                "focal_alpha": 0.25,
                "focal_gamma": 1.5,
                "scale": (0.1, 2.0),
            },
        ),
        # Eff-SpineNet, section 5.1.1: down at the last 30 and 10 of 650 epochs.
        (
            "eff_spinenet_mobile",
            {
                "epochs": 650,
                "batch_size": 256,
                "optimizer": "sgd",
                "momentum": 0.9,
                "weight_decay": 4e-5,
                "learning_rate": 0.28,
                "schedule": "step",
                "decay_at": pytest.approx((620 / 650, 640 / 650), abs=1e-5),
                "decay_to": (0.1, 0.01),
                "scale": (0.1, 2.0),
            },
        ),
        # NAS-FPN, section 4.1.
        (
            "nas_fpn",
            {
                "epochs": 50,
                "batch_size": 64,
                "optimizer": "sgd",
                "momentum": 0.9,
                "weight_decay": 1e-4,
                "learning_rate": 0.08,
                "schedule": "step",
                "decay_at": (0.6, 0.8),
                "decay_to": (0.1, 0.01),
                "focal_alpha": 0.25,
                "focal_gamma": 1.5,
                "scale": (0.8, 1.2),
            },
        ),
    ],
)
def test_a_papers_recipe_has_the_papers_figures(name: str, printed: dict[str, Any]) -> None:
    options = options_from(read_recipe(name), {}, images=118_287)
    assert {key: getattr(options, key) for key in printed} == printed
    assert options.peak_rate(options.batch_size) == pytest.approx(printed["learning_rate"])


def test_the_rate_goes_with_the_batch() -> None:
    recipe = read_recipe("efficientdet")
    options = options_from(recipe, {"batch_size": 16, "accumulate": 2}, images=1)
    assert options.peak_rate(16) == pytest.approx(0.16 * 32 / 128)
    own = options_from(read_recipe("finetune"), {"batch_size": 4}, images=1)
    assert own.peak_rate(4) == own.learning_rate


@pytest.mark.parametrize(
    ("images", "batch", "epochs"),
    [(10, 16, 300), (1000, 16, 162), (8000, 16, 20), (118_287, 16, 20), (0, 1, 300)],
)
def test_automatic_epochs_make_about_ten_thousand_steps(
    images: int, batch: int, epochs: int
) -> None:
    assert auto_epochs(images, batch) == epochs
    recipe = read_recipe("finetune")
    assert options_from(recipe, {"batch_size": batch}, images=images).epochs == epochs
    assert options_from(recipe, {"epochs": 7}, images=images).epochs == 7


def test_changes_are_yaml() -> None:
    words = ["learning_rate=4e-5", "scale=[0.5, 1.5]", "autoaugment=v1", "drop_rate=null"]
    assert parse_changes(words) == {
        "learning_rate": 4e-5,
        "scale": [0.5, 1.5],
        "autoaugment": "v1",
        "drop_rate": None,
    }


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("learning_rate", "OPTION=VALUE"),
        ("learning_rat=1", "did you mean learning_rate?"),
        ("wheels=4", "options are epochs, batch_size"),
        ("scale=[1", "is not valid YAML"),
        ("scale=&a [*a]", "aliases"),
    ],
)
def test_a_change_that_is_none_is_told(word: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        parse_changes([word])
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 3", "did you mean epochs?"),
        ("- 1", "holds no options"),
        ("a: [", "not valid YAML"),
        ("scale: &x [*x]", "aliases"),
        ("\0", "not valid YAML"),
        ("x" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as error:
        read_recipe(str(path))
    assert said in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_a_recipe_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="efficientdet"):
        read_recipe(str(tmp_path / "gone.yaml"))
    with pytest.raises(InvalidInputError, match="There is no recipe 'fast'"):
        read_recipe("fast")


def test_an_own_recipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3\nlearning_rate: 1e-3\nscale: [1, 1]\n")
    options = options_from(read_recipe(str(path)), {}, images=1)
    assert (options.epochs, options.learning_rate, options.scale) == (3, 1e-3, (1.0, 1.0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "epochs must be a whole number"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"optimizer": "lion"}, "optimizer must be sgd or adamw"),
        ({"schedule": "step"}, "needs decay_at"),
        ({"schedule": "step", "decay_at": (0.5,)}, "as many numbers"),
        ({"decay_at": (0.8, 0.5), "decay_to": (0.1, 0.01)}, "must rise"),
        ({"decay_at": (1.5,), "decay_to": (0.1,)}, "between 0 and 1"),
        ({"scale": (2.0, 1.0)}, "scale"),
        ({"autoaugment": "v9"}, "v9"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        TrainingOptions(**options)
    assert said in str(error.value)


@pytest.mark.parametrize("value", ["big", [1], [1, "2"], [1, True], {"a": 1}])
def test_pairs_in_a_recipe_are_checked(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="scale must be two numbers"):
        options_from({"scale": value}, {}, images=1)


@given(st.text(max_size=60))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with contextlib.suppress(InvalidInputError):
        options_from(parse_changes([f"scale={text}"]), {}, images=1)
