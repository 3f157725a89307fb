"""Which of the annotations' classes become which labels: `names`, `map` and `classes`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgedet.data.annotations import Annotations
from edgedet.data.description import Description
from edgedet.data.faults import Faults
from edgedet.data.reading import shown, shown_path
from edgedet.errors import InvalidInputError


@dataclass(frozen=True, eq=False)
class Classes:
    """The labels of a dataset, and the annotations' categories behind them.

    Attributes:
        labels: class names in the order of the logits.
        category_ids: the id that results carry, of each label.
        index: [M] int32, the label of each box; -1 where its box is left out.
    """

    labels: tuple[str, ...]
    category_ids: tuple[int, ...]
    index: npt.NDArray[np.int32]


def choose_classes(description: Description, annotations: Annotations, faults: Faults) -> Classes:
    """Name the boxes' classes as the data.yaml wants it.

    A label that several categories are merged into gets the lowest of their ids. VOC has no ids:
    labels are numbered from 1 there.

    Args:
        description: `names`, `map` and `classes` of the data.yaml.
        annotations: what the files say.
        faults: gets the classes of boxes that have no name.

    Raises:
        InvalidInputError: `names`, `map` and `classes` contradict each other, or name a class that
            the annotations' list of categories lacks.
    """
    labels = _labels(description)
    label_of = {
        identity: description.mapping.get(name, name)
        for identity, name in annotations.categories.items()
    }
    ids = {
        label: min((i for i, mapped in label_of.items() if mapped == label), default=None)
        for label in labels
    }
    if annotations.listed:
        _check_listed(description, annotations, [name for name in labels if ids[name] is None])
    position = {label: index for index, label in enumerate(labels)}
    classes_of = {i: position.get(name or "", -1) for i, name in label_of.items()}
    used = np.unique(annotations.category_ids).tolist()
    if description.classes is None:
        _check_unnamed(
            description,
            annotations,
            [
                annotations.categories[i]
                for i in used
                if classes_of[i] < 0 and label_of[i] is not None
            ],
            labels,
            faults,
        )
    numbers = {label: identity for label, identity in ids.items() if identity is not None}
    return Classes(
        labels=labels,
        category_ids=(
            tuple(numbers[label] for label in labels)
            if annotations.listed
            else tuple(range(1, len(labels) + 1))
        ),
        index=_looked_up(classes_of, annotations.category_ids),
    )


def _labels(description: Description) -> tuple[str, ...]:
    mapping, names = description.mapping, description.names
    mapped = dict.fromkeys(mapping.get(name, name) for name in names)
    labels = tuple(name for name in mapped if name is not None)
    known = f"{description.file}: `map`"
    stray = [new for new in mapping.values() if new is not None and new not in labels]
    if stray:
        raise InvalidInputError(
            f"{known} leads to the class {shown(stray[0])}, which `names` does not have; add it "
            "or the class that it is made from there."
        )
    if description.classes is not None:
        unknown = [name for name in description.classes if name not in labels]
        if unknown:
            raise InvalidInputError(
                f"{description.file}: `classes` keeps {shown(unknown[0])}, which is not among the "
                f"names ({_listed(labels)}); make `classes` and `names` agree."
            )
        return description.classes
    if not labels:
        raise InvalidInputError(f"{known} leaves no class; keep at least one.")
    return labels


def _check_listed(description: Description, annotations: Annotations, missing: list[str]) -> None:
    if missing:
        raise InvalidInputError(
            f"{description.file}: the class {shown(missing[0])}{_and_more(missing)} is not among "
            f"the categories of {shown_path(annotations.source)} "
            f"({_listed(list(annotations.categories.values()))}); make `names` and the categories "
            "agree."
        )


def _check_unnamed(
    description: Description,
    annotations: Annotations,
    unnamed: list[str],
    labels: tuple[str, ...],
    faults: Faults,
) -> None:
    if unnamed:
        choice = ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")
        faults.add(
            "category",
            annotations.source,
            "",
            f"has boxes of the class {shown(unnamed[0])}{_and_more(unnamed)}, which is not in "
            f"`names` of {description.file}",
            f"add it there, or leave its boxes out with `map: {{{unnamed[0][:50]}: null}}`, or all "
            f"others' with `classes: [{choice}]`",
        )


def _looked_up(table: dict[int, int], values: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    unique, inverse = np.unique(values, return_inverse=True)
    found = np.array([table[value] for value in unique.tolist()], np.int32)
    return found[inverse.reshape(-1)] if len(values) else np.zeros(0, np.int32)


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(shown(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
