"""Assign a network's variables from arrays with foreign names and layouts.

An importer is a function from our name of a variable to the source's:

    links = link(network, lambda path: {"stem_conv/kernel": "conv_stem.weight"}.get(path),
                 layout=pytorch_layout)
    report = transfer(state_dict, links)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgedet.errors import InvalidInputError

Transform = Callable[..., np.ndarray]
"""The source's arrays, in the order of their names -> the array of the variable."""
SourceName = Callable[[str], "str | Sequence[str] | None"]
"""`layer/variable` -> its name in the source, the names of its parts, or None if it has none."""
Layout = Callable[[keras.layers.Layer, str], "Transform | None"]
"""(layer, variable name) -> what brings the source's array into Keras's layout, None if it is."""


@dataclass(frozen=True)
class Link:
    """A variable of the network and where its value comes from.

    Attributes:
        path: `layer/variable`, which names it in messages and reports.
        variable: the Keras variable.
        sources: names in the source; none leaves the variable at its start.
        transform: from the source's arrays to the variable's; None takes a single array as it is
            and stacks several.
        optional: whether a source that is missing or of another shape leaves the variable at its
            start. For predictors, whose shape depends on the classes.
    """

    path: str
    variable: Any
    sources: tuple[str, ...]
    transform: Transform | None = None
    optional: bool = False


@dataclass(frozen=True)
class TransferReport:
    """What a transfer did.

    Attributes:
        used: names in the source whose arrays are in the network now.
        unused: the source's other names.
        untouched: `layer/variable` of the network that kept their start.
    """

    used: tuple[str, ...]
    unused: tuple[str, ...]
    untouched: tuple[str, ...]


def keras_layout(layer: keras.layers.Layer, variable: str) -> Transform | None:
    """TensorFlow's and Keras's own layout: nothing to change."""
    return None


def pytorch_layout(layer: keras.layers.Layer, variable: str) -> Transform | None:
    """PyTorch's layout: kernels OIHW, depthwise C1HW, dense [out, in]."""
    if variable != "kernel":
        return None
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return _transposition(2, 3, 0, 1)
    if isinstance(layer, keras.layers.Conv2D):
        return _transposition(2, 3, 1, 0)
    if isinstance(layer, keras.layers.Dense):
        return _transposition(1, 0)
    return None


def _transposition(*axes: int) -> Transform:
    def transpose(array: np.ndarray) -> np.ndarray:
        return array.transpose(axes)

    return transpose


def opened(
    source: str | os.PathLike[str] | Mapping[str, Any],
    read: Callable[[str | os.PathLike[str]], Mapping[str, Any]],
    origin: str | None = None,
) -> tuple[Mapping[str, Any], str]:
    """The arrays of a source, and what messages call it.

    Args:
        source: a file, or arrays by name.
        read: what reads such a file.
        origin: what to call it; by default the file, or "the source".
    """
    if isinstance(source, Mapping):
        return source, origin or "the source"
    return read(source), origin or str(source)


def refuse_directory(path: Path) -> None:
    """Refuse a directory in the place of a file of weights.

    Raises:
        InvalidInputError: it is one.
    """
    if path.is_dir():
        raise InvalidInputError(f"{path} is a directory; name the file of weights within it.")


def link(
    network: keras.Model,
    source_name: SourceName,
    *,
    layout: Layout = keras_layout,
    optional: Callable[[str], bool] = lambda path: False,
) -> list[Link]:
    """One link for every variable of a network, in its order.

    Args:
        network: a functional model without models inside.
        source_name: names a variable `layer/variable` in the source. Several names are the parts
            of one variable, stacked along a new first axis.
        layout: how the source lays its arrays out.
        optional: tells for a path `layer/variable` whether it may keep its start.
    """
    links = []
    for layer in network.layers:
        for variable in layer.weights:
            path = f"{layer.name}/{variable.name}"
            names = source_name(path)
            sources = () if names is None else (names,) if isinstance(names, str) else tuple(names)
            links.append(
                Link(path, variable, sources, layout(layer, variable.name), optional(path))
            )
    return links


def transfer(
    source: Mapping[str, Any], links: Sequence[Link], *, origin: str = "the source"
) -> TransferReport:
    """Assign every linked variable. Nothing is assigned if anything doesn't fit.

    Args:
        source: arrays by name; anything that `numpy.asarray` takes.
        links: from `link`, or made one by one.
        origin: what the messages call the source: a file name.

    Raises:
        InvalidInputError: a name that the source lacks, a shape that doesn't fit, or numbers that
            are not finite; the message names both sides.
    """
    values: list[tuple[Any, np.ndarray]] = []
    used: set[str] = set()
    untouched = []
    for each in links:
        value = _value(source, each, origin)
        if value is None:
            untouched.append(each.path)
        else:
            values.append((each.variable, value))
            used.update(each.sources)
    for variable, value in values:
        variable.assign(value)
    return TransferReport(
        used=tuple(name for name in source if name in used),
        unused=tuple(name for name in source if name not in used),
        untouched=tuple(untouched),
    )


def refuse_left(
    names: Iterable[str], linked: Collection[str], origin: str, network: keras.Model
) -> None:
    """Refuse a source with variables that no layer takes: a deeper network's, for example.

    Raises:
        InvalidInputError: one of `names` is not among the `linked`.
    """
    left = [name for name in names if name not in linked]
    if left:
        raise InvalidInputError(
            f"{origin} has {left[0]!r}, for which the network {network.name} has no layer; "
            "choose weights of its architecture."
        )


def _value(source: Mapping[str, Any], link: Link, origin: str) -> np.ndarray | None:
    """The array for a variable, checked; None to leave it at its start."""
    expected = tuple(link.variable.shape)
    missing = [name for name in link.sources if name not in source]
    if not link.sources or (missing and link.optional):
        return None
    if missing:
        raise InvalidInputError(
            f"{origin} has no {missing[0]!r} for the network's {link.path} {expected}; "
            "choose weights of this architecture."
        )
    arrays = [np.asarray(source[name]) for name in link.sources]
    shapes = " and ".join(
        f"{name!r} {array.shape}" for name, array in zip(link.sources, arrays, strict=True)
    )
    try:
        if link.transform is not None:
            value = link.transform(*arrays)
        else:
            value = arrays[0] if len(arrays) == 1 else np.stack(arrays)
        fits = value.shape == expected
    except ValueError:
        # Too few axes to transpose, or parts of different shapes.
        fits = False
    if not fits and link.optional:
        return None
    if not fits:
        raise InvalidInputError(
            f"{shapes} of {origin} doesn't fit the network's {link.path} {expected}; "
            "choose weights of this architecture."
        )
    try:
        finite = bool(np.isfinite(value).all())
    except TypeError:
        finite = False
    if not finite:
        raise InvalidInputError(
            f"{shapes} of {origin}, for the network's {link.path}, holds values that are not "
            "finite numbers; get the weights again."
        )
    return value
