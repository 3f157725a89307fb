"""`ModelSpec`: everything one must know to run a model, carried inside every model file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgedet.errors import InvalidInputError

FORMAT_VERSION = 1

OptionValue = bool | int | float | str
"""What an option of an architecture can be."""

# A spec comes out of files of unknown origin: sizes that would allocate without bound are refused.
MAX_SIDE = 8192
"""Longest side of a network's input in pixels."""
_MAX_CLASSES = 100_000
_MAX_LEVEL = 12
_MAX_ANCHORS = 64
_MAX_VALUE = 1e6


@dataclass(frozen=True)
class InputSpec:
    """The network's input: RGB, NHWC, batch 1; `(value - mean) / std` with value in 0..255.

    Attributes:
        height: rows of the input tensor.
        width: columns of the input tensor.
        mean: per-channel mean in grey levels (0..255), in RGB order.
        std: per-channel divisor in grey levels.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)

    def __post_init__(self) -> None:
        _check_integer("input.height", self.height, 1, MAX_SIDE)
        _check_integer("input.width", self.width, 1, MAX_SIDE)
        _freeze(self, "mean", _numbers("input.mean", self.mean, 3))
        _freeze(self, "std", _numbers("input.std", self.std, 3))
        if any(value <= 0 for value in self.std):
            raise InvalidInputError("input.std must be positive.")


@dataclass(frozen=True)
class AnchorSpec:
    """RetinaNet's dense anchors (Lin et al. 2017, section 4; EfficientDet's octave-major order).

    Attributes:
        min_level: finest pyramid level; level l has stride 2**l where that divides the input.
        max_level: coarsest pyramid level, inclusive.
        scale: side of the first square anchor in strides.
        octaves: anchor sizes per octave; size o is `scale * stride * 2**(o / octaves)`.
        aspect_ratios: width / height of the anchors of each size.
    """

    min_level: int = 3
    max_level: int = 7
    scale: float = 3.0
    octaves: int = 3
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5)

    def __post_init__(self) -> None:
        _check_integer("anchors.min_level", self.min_level, 0, _MAX_LEVEL)
        _check_integer("anchors.max_level", self.max_level, self.min_level, _MAX_LEVEL)
        _check_integer("anchors.octaves", self.octaves, 1, _MAX_ANCHORS)
        _freeze(self, "aspect_ratios", _numbers("anchors.aspect_ratios", self.aspect_ratios, None))
        _freeze(self, "scale", _numbers("anchors.scale", (self.scale,), 1)[0])
        if self.scale <= 0 or any(ratio <= 0 for ratio in self.aspect_ratios):
            raise InvalidInputError("anchors.scale and anchors.aspect_ratios must be positive.")
        if not 1 <= self.per_location <= _MAX_ANCHORS:
            raise InvalidInputError(f"anchors must be 1 to {_MAX_ANCHORS} per location.")

    @property
    def levels(self) -> range:
        """Pyramid levels from the finest to the coarsest."""
        return range(self.min_level, self.max_level + 1)

    @property
    def per_location(self) -> int:
        """Anchors at each location of a level."""
        return self.octaves * len(self.aspect_ratios)

    def level_size(self, level: int, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of a pyramid level: the input halved `level` times, rounding up."""
        return -(-height // 2**level), -(-width // 2**level)


@dataclass(frozen=True)
class ModelSpec:
    """What travels with a model from training to the device.

    Attributes:
        name: preset of the architecture, `eff-spinenet-m0` for example.
        input: size and normalization of the input tensor.
        anchors: the anchors that the heads refer to.
        labels: class names in the order of the class logits.
        category_ids: the data set's own id of each class (COCO ids are kept as they were).
        activation: the network's activation: `swish`, `hard_swish`, `relu6` or `relu`.
        options: how the architecture departs from the preset, by name: `stacks`, `exit`, ...
        provenance: how the file came to be (data, epochs, seed, quantization, ...), as JSON values.
    """

    name: str
    input: InputSpec
    anchors: AnchorSpec
    labels: tuple[str, ...]
    category_ids: tuple[int, ...]
    activation: str = "swish"
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInputError("name must be a non-empty string.")
        if not isinstance(self.labels, (list, tuple)) or not isinstance(
            self.category_ids, (list, tuple)
        ):
            raise InvalidInputError("labels and category_ids must be lists.")
        if not 1 <= len(self.labels) <= _MAX_CLASSES:
            raise InvalidInputError(f"labels must name 1 to {_MAX_CLASSES} classes.")
        if not all(isinstance(label, str) for label in self.labels):
            raise InvalidInputError("labels must be strings.")
        if len(self.category_ids) != len(self.labels):
            raise InvalidInputError(
                f"category_ids has {len(self.category_ids)} entries for {len(self.labels)} labels."
            )
        for category in self.category_ids:
            _check_integer("category_ids", category, -(2**31), 2**31 - 1)
        if not isinstance(self.options, Mapping) or not all(
            isinstance(name, str) and isinstance(value, OptionValue)
            for name, value in self.options.items()
        ):
            raise InvalidInputError("options must be an object of numbers, strings and flags.")
        if not isinstance(self.provenance, Mapping):
            raise InvalidInputError("provenance must be an object.")
        _freeze(self, "labels", tuple(self.labels))
        _freeze(self, "category_ids", tuple(self.category_ids))

    @property
    def num_classes(self) -> int:
        """Number of classes; there is no background class."""
        return len(self.labels)

    @property
    def class_outputs(self) -> tuple[str, ...]:
        """Names of the class logit tensors, finest level first: `class_3` ..."""
        return tuple(f"class_{level}" for level in self.anchors.levels)

    @property
    def box_outputs(self) -> tuple[str, ...]:
        """Names of the box code tensors, finest level first: `box_3` ..."""
        return tuple(f"box_{level}" for level in self.anchors.levels)

    def level_size(self, level: int) -> tuple[int, int]:
        """(rows, columns) of a pyramid level of this input (see `AnchorSpec.level_size`)."""
        return self.anchors.level_size(level, self.input.height, self.input.width)

    def to_json(self) -> str:
        """The spec as a JSON object; `from_json` is its inverse."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelSpec:
        """Parse and validate a spec.

        Raises:
            InvalidInputError: the text is no JSON, a field is missing, unknown, or out of range.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"the model spec is not valid JSON ({error}).") from None
        if not isinstance(values, dict):
            raise InvalidInputError("the model spec must be a JSON object.")
        version = values.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise InvalidInputError(
                f"the model spec has format version {version!r}, this edgedet reads "
                f"{FORMAT_VERSION}; upgrade edgedet or convert the model again."
            )
        values["input"] = _parse(InputSpec, "input", values.get("input"))
        values["anchors"] = _parse(AnchorSpec, "anchors", values.get("anchors"))
        spec: ModelSpec = _parse(cls, "model spec", values)
        return spec


def _parse(kind: Any, name: str, values: Any) -> Any:
    if not isinstance(values, dict):
        raise InvalidInputError(f"the model spec has no {name}.")
    known = {entry.name for entry in dataclasses.fields(kind)}
    required = {
        entry.name
        for entry in dataclasses.fields(kind)
        if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    }
    if missing := required - values.keys():
        raise InvalidInputError(f"the {name} lacks {', '.join(sorted(missing))}.")
    if unknown := values.keys() - known:
        raise InvalidInputError(f"the {name} has unknown fields: {', '.join(sorted(unknown))}.")
    return kind(**values)


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInputError(f"{name} must be an integer from {low} to {high}.")


def _numbers(name: str, values: Sequence[float], count: int | None) -> tuple[float, ...]:
    fits = isinstance(values, (list, tuple)) and (count is None or len(values) == count)
    # The bound also keeps integers out that no float can hold.
    if not fits or not all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_VALUE
        for value in values
    ):
        raise InvalidInputError(f"{name} must be {count or 'some'} finite numbers.")
    return tuple(float(value) for value in values)


def _freeze(instance: object, name: str, value: object) -> None:
    object.__setattr__(instance, name, value)
