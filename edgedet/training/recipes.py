"""Recipes: training options as YAML, one file for each paper and one for own data."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.training.options import TrainingOptions

DEFAULT = "finetune"

# What `epochs: auto` aims at: enough steps for a small data set, not too many for a large one.
AUTO_STEPS = 10_000
AUTO_EPOCHS = (20, 300)

_BUNDLED = resources.files("edgedet") / "recipes"
_MAX_BYTES = 2**16
_NAMES = tuple(field.name for field in fields(TrainingOptions))
_PAIRS = ("scale", "decay_at", "decay_to")


def names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    found = (entry.name for entry in _BUNDLED.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml")))


def read_recipe(name: str) -> dict[str, Any]:
    """The options that a recipe sets.

    Args:
        name: one of `names()`, or the path of a `.yaml` file.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no such recipe, no YAML, or a key that no option has.
    """
    if name in names():
        text = (_BUNDLED / f"{name}.yaml").read_bytes()
        return _parsed(f"the recipe {name}", text)
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise InvalidInputError(
            f"There is no recipe {name!r}; use {', '.join(names())} or the path of a .yaml file."
        )
    if not path.is_file():
        raise MissingFileError(f"There is no recipe {path}; use {', '.join(names())} or a file.")
    if path.stat().st_size > _MAX_BYTES:
        raise InvalidInputError(f"{path} is larger than 64 KiB, so it is no recipe.")
    try:
        return _parsed(str(path), path.read_bytes())
    except PermissionError:
        raise InvalidInputError(f"{path} can't be read; check its permissions.") from None


def options_from(
    recipe: Mapping[str, Any], changes: Mapping[str, Any], *, images: int
) -> TrainingOptions:
    """The options of a recipe with some changed.

    Args:
        recipe: from `read_recipe`.
        changes: options that take another value.
        images: training pictures, by which `epochs: auto` is decided.

    Raises:
        InvalidInputError: an unknown option or a value out of range.
    """
    values = {**recipe, **changes}
    for name in values:
        check_name(name)
    for name in _PAIRS:
        if name in values:
            values[name] = _numbers(name, values[name])
    if values.get("epochs") == "auto":
        batch = values.get("batch_size", TrainingOptions.batch_size)
        values["epochs"] = auto_epochs(images, batch) if isinstance(batch, int) else 1
    return TrainingOptions(**values)


def auto_epochs(images: int, batch_size: int) -> int:
    """Epochs that make about `AUTO_STEPS` steps, within `AUTO_EPOCHS`."""
    steps = max(1, images // max(1, batch_size))
    return min(AUTO_EPOCHS[1], max(AUTO_EPOCHS[0], math.ceil(AUTO_STEPS / steps)))


def parse_changes(words: list[str]) -> dict[str, Any]:
    """Options given as `key=value`; values are YAML.

    Raises:
        InvalidInputError: not of that form, or an unknown option.
    """
    changes = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise InvalidInputError(f"--set takes OPTION=VALUE, not {word!r}.")
        check_name(key)
        changes[key] = _loaded(f"--set {word}", value.encode())
    return changes


def check_name(name: Any) -> None:
    """Raise `InvalidInputError` unless there is a training option called `name`."""
    if name not in _NAMES:
        near = difflib.get_close_matches(str(name), _NAMES, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else f"options are {', '.join(_NAMES)}."
        raise InvalidInputError(f"There is no training option {str(name)[:100]!r}; {hint}")


def _parsed(what: str, text: bytes) -> dict[str, Any]:
    content = _loaded(what, text)
    if not isinstance(content, dict):
        raise InvalidInputError(f"{what} holds no options; write `epochs: 50` and such.")
    for key in content:
        try:
            check_name(key)
        except InvalidInputError as error:
            raise InvalidInputError(f"{what}: {error}") from None
    return content


def _loaded(what: str, text: bytes) -> Any:
    import yaml

    try:
        # Aliases could let a small file take memory without bound.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise InvalidInputError(f"{what} has YAML aliases (*name); write the values out.")
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{what} is not valid YAML.") from None
    return _number(value)


def _number(value: Any) -> Any:
    """YAML 1.1 takes `4e-5` for text: numbers that people write are numbers here."""
    if isinstance(value, dict):
        return {key: _number(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_number(entry) for entry in value]
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    if (
        not isinstance(values, (list, tuple))
        or (name == "scale" and len(values) != 2)
        or any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values)
    ):
        what = "two numbers" if name == "scale" else "a list of numbers"
        raise InvalidInputError(f"{name} must be {what}, not {str(values)[:100]}.")
    return tuple(float(value) for value in values)
