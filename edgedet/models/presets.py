"""The model zoo: presets by name, and the `ModelSpec` of a preset for a set of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import ACTIVATIONS
from edgedet.models.eff_spinenet import EffSpineNetScale
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

# Presets need inputs of whole strides down to the coarsest level, so that up- and down-sampled
# maps meet at equal sizes.
SIZE_MULTIPLE = 128


@dataclass(frozen=True)
class Preset:
    """A named architecture.

    Attributes:
        name: what `--model` takes.
        scale: size of the network.
        size: side of the square input in pixels.
        paper: where it is defined.
        coco_ap: the paper's AP on COCO val2017 in percent.
    """

    name: str
    scale: EffSpineNetScale
    size: int
    paper: str
    coco_ap: float


_PAPER = "Eff-SpineNet (Du et al. 2020), Table 2"
_PRESETS = {
    preset.name: preset
    for preset in (
        Preset("eff-spinenet-m0", EffSpineNetScale(0.4, 24), 256, _PAPER, 17.3),
        Preset("eff-spinenet-m1", EffSpineNetScale(0.5, 40), 384, _PAPER, 25.0),
        Preset("eff-spinenet-m2", EffSpineNetScale(0.8, 64), 384, _PAPER, 29.2),
    )
}


def presets() -> tuple[Preset, ...]:
    """Every preset, smallest first."""
    return tuple(_PRESETS.values())


def preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        InvalidInputError: there is none.
    """
    if name not in _PRESETS:
        raise InvalidInputError(f"There is no model {name!r}; choose one of {', '.join(_PRESETS)}.")
    return _PRESETS[name]


def preset_spec(
    name: str,
    labels: Sequence[str],
    category_ids: Sequence[int] | None = None,
    *,
    size: int | None = None,
    activation: str | None = None,
    anchor_scale: float | None = None,
) -> ModelSpec:
    """The `ModelSpec` of a preset for these labels.

    Args:
        name: a preset.
        labels: class names.
        category_ids: ids of the classes in the data set; 1, 2, ... by default.
        size: side of the square input in pixels, a multiple of 128; the preset's by default.
        activation: swish (the paper's, default), hard_swish, relu6 or relu.
        anchor_scale: side of the first anchor in strides; 3 by default.

    Raises:
        InvalidInputError: unknown name, or a value out of range.
    """
    side = preset(name).size if size is None else size
    if side <= 0 or side % SIZE_MULTIPLE:
        raise InvalidInputError(
            f"The input size must be a multiple of {SIZE_MULTIPLE}, not {side}."
        )
    if activation is not None and activation not in ACTIVATIONS:
        raise InvalidInputError(
            f"There is no activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}."
        )
    return ModelSpec(
        name=name,
        input=InputSpec(side, side),
        anchors=AnchorSpec() if anchor_scale is None else AnchorSpec(scale=anchor_scale),
        labels=tuple(labels),
        category_ids=tuple(range(1, len(labels) + 1) if category_ids is None else category_ids),
        activation=activation or "swish",
    )
