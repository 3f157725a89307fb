"""Two evaluations side by side: what became better, what worse, by class and by object size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.evaluation.coco import METRICS, NO_TRUTH, SIZES
from edgedet.evaluation.page import shortened

_MAX_BYTES = 2**28
_CONDITIONS = ("data", "split", "limit", "images", "truths", "conf", "iou", "max_det")


@dataclass(frozen=True)
class Change:
    """One number before and after; fractions 0..1, None where it isn't known or has no truth."""

    before: float | None
    after: float | None

    @property
    def difference(self) -> float | None:
        """After less before; None where either is missing."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before

    def to_dict(self) -> dict[str, float | None]:
        """`before`, `after` and `difference`."""
        return {"before": self.before, "after": self.after, "difference": self.difference}


@dataclass(frozen=True)
class Comparison:
    """The change from one evaluation to another.

    Attributes:
        before: what the earlier one evaluated.
        after: what the later one evaluated.
        metrics: the change of each of `METRICS`.
        per_class: the changes of `AP`, `AP50`, `AR100` and the APs by size of each class, by its
            label; classes of the later evaluation in its order, then those only the earlier has.
        per_size: the changes of `AP`, `AP50` and `AR100` of small, medium and large objects.
        remarks: sentences on what else differs, so that the numbers can't be compared as they are.
    """

    before: str
    after: str
    metrics: Mapping[str, Change]
    per_class: Mapping[str, Mapping[str, Change]]
    per_size: Mapping[str, Mapping[str, Change]]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "before": self.before,
            "after": self.after,
            "metrics": {name: change.to_dict() for name, change in self.metrics.items()},
            "per_class": _nested(self.per_class),
            "per_size": _nested(self.per_size),
            "remarks": list(self.remarks),
        }


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """Compare two evaluations.

    Args:
        before: content of the earlier metrics.json, or `EvaluationResult.to_dict()`.
        after: the same of the later one.
    """
    classes = [
        {entry["label"]: entry for entry in content["per_class"]} for content in (before, after)
    ]
    labels = dict.fromkeys([*classes[1], *classes[0]])
    sizes = [content.get("per_size", {}) for content in (before, after)]
    return Comparison(
        before=str(before.get("model") or before.get("predictions") or "before"),
        after=str(after.get("model") or after.get("predictions") or "after"),
        metrics=_changes(METRICS, before["metrics"], after["metrics"]),
        per_class={
            label: _changes(
                ("AP", "AP50", "APs", "APm", "APl", "AR100"),
                classes[0].get(label, {}),
                classes[1].get(label, {}),
            )
            for label in labels
        },
        per_size={
            size: _changes(("AP", "AP50", "AR100"), sizes[0].get(size, {}), sizes[1].get(size, {}))
            for size in SIZES
        },
        remarks=tuple(
            f"{key} differs: {shortened(str(before[key]))} before, {shortened(str(after[key]))} now"
            for key in _CONDITIONS
            if key in before and key in after and before[key] != after[key]
        ),
    )


def read_baseline(path: Path) -> dict[str, Any]:
    """Read a metrics.json for `compare`.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it isn't what `edgedet eval` writes.
    """
    if path.is_dir():
        path = path / "metrics.json"
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; name the metrics.json of an evaluation.")
    try:
        content = json.loads(path.read_bytes()) if path.stat().st_size <= _MAX_BYTES else None
    except PermissionError:
        raise InvalidInputError(f"{path} can't be read; check its permissions.") from None
    except (ValueError, RecursionError):
        content = None
    if content is None or not _is_evaluation(content):
        raise InvalidInputError(
            f"{path} is no metrics.json of an evaluation; name one that `edgedet eval` wrote."
        )
    return dict(content)


def _is_evaluation(content: Any) -> bool:
    if not isinstance(content, dict) or not _are_numbers(content.get("metrics"), METRICS):
        return False
    classes, sizes = content.get("per_class"), content.get("per_size", {})
    return (
        isinstance(classes, list)
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("label"), str)
            and _are_numbers(entry, ("AP",))
            for entry in classes
        )
        and isinstance(sizes, dict)
        and all(_are_numbers(entry, ("AP",)) for entry in sizes.values())
    )


def _are_numbers(entry: Any, names: tuple[str, ...]) -> bool:
    return isinstance(entry, dict) and all(_is_number(entry.get(name)) for name in names)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and -1 <= value <= 1


def _changes(
    names: tuple[str, ...], before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Change]:
    return {name: Change(_known(before.get(name)), _known(after.get(name))) for name in names}


def _known(value: object) -> float | None:
    return float(value) if _is_number(value) and value > NO_TRUTH else None


def _nested(changes: Mapping[str, Mapping[str, Change]]) -> dict[str, Any]:
    return {
        key: {name: change.to_dict() for name, change in of_key.items()}
        for key, of_key in changes.items()
    }
