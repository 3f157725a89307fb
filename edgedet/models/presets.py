"""The model zoo: presets by name, their options, and a preset's `ModelSpec` for some labels."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from edgedet.errors import InvalidInputError
from edgedet.models import eff_spinenet
from edgedet.models.blocks import ACTIVATIONS, BlockStyle
from edgedet.models.eff_spinenet import EffSpineNet
from edgedet.models.efficientnet import EfficientNet, efficientnet, efficientnet_coefficients
from edgedet.models.graph import Tensor
from edgedet.models.mobilenet_v2 import MobileNetV2
from edgedet.models.normalization import GREY, IMAGENET, Normalization
from edgedet.models.pyramids import FPN, FUSIONS, NASFPN, BiFPN, Pyramid
from edgedet.models.resnet import ResNet
from edgedet.models.spinenet_mobile import HEAD_LAYERS, spinenet_mobile
from edgedet.spec import MAX_SIDE, AnchorSpec, InputSpec, ModelSpec, OptionValue


class Backbone(Protocol):
    """What every backbone offers."""

    def features(
        self, image: Tensor, style: BlockStyle, *, drop_rate: float = 0.0
    ) -> dict[int, Tensor]:
        """Maps by level of `image` [batch, rows, columns, 3]."""
        ...


@dataclass(frozen=True)
class Published:
    """What a paper prints for a detector.

    Attributes:
        parameters: in millions.
        multiply_adds: in billions.
        ap: AP on COCO in percent, of val2017 or, where the paper has no other, of test-dev.
        classes: classes that its count of parameters is for.
    """

    parameters: float | None = None
    multiply_adds: float | None = None
    ap: float | None = None
    classes: int = 90


@dataclass(frozen=True)
class HeadSize:
    """Convolutions of each head before its predictor, and their width."""

    layers: int
    width: int
    separable: bool = True


@dataclass(frozen=True)
class Preset:
    """A named architecture.

    Attributes:
        name: what `--model` takes.
        paper: where it is defined.
        size: side of the square input in pixels.
        backbone: makes maps by level of the picture.
        head: size of both heads.
        pyramid: the neck between them; None where the backbone has the pyramid's maps already.
        levels: finest and coarsest level.
        anchor_scale: side of the first anchor in strides.
        activation: the paper's.
        drop_rate: stochastic depth of the last block.
        normalization: of the input, that of published weights.
        published: the paper's figures.
        anytime: heads after every pyramid of the stack (NAS-FPN, section 3.2).
        exit: the pyramid, from 1, whose heads are the network's; None is the last.
    """

    name: str
    paper: str
    size: int
    backbone: Backbone
    head: HeadSize
    pyramid: Pyramid | None = None
    levels: tuple[int, int] = (3, 7)
    anchor_scale: float = 4.0
    activation: str = "swish"
    drop_rate: float = 0.0
    normalization: Normalization = IMAGENET
    published: Published = Published()
    anytime: bool = False
    exit: int | None = None


_EFFICIENTDET = "EfficientDet (Tan et al. 2020), Table 1"
_EFF_SPINENET = "Eff-SpineNet (Du et al. 2020), Table 2"
_SP_EFFICIENTNET = "Eff-SpineNet (Du et al. 2020), Tables 1 and 8"
_NAS_FPN = "NAS-FPN (Ghiasi et al. 2019), Table 1"
_LITE_SOURCE = "EfficientDet-Lite: EfficientDet (Tan et al. 2020) without SE, with ReLU6"

# Backbone, input, pyramid width and stacks, head layers; printed parameters, multiply-adds, AP.
_EFFICIENTDET_ROWS = (
    ("b0", 512, 64, 3, 3, 3.9, 2.54, 33.5),
    ("b1", 640, 88, 4, 3, 6.6, 6.1, 39.1),
    ("b2", 768, 112, 5, 3, 8.1, 11.0, 42.5),
    ("b3", 896, 160, 6, 4, 12.0, 24.9, 45.9),
    ("b4", 1024, 224, 7, 4, 20.7, 55.2, 49.0),
    ("b5", 1280, 288, 7, 4, 33.7, 135.0, 50.5),
    ("b6", 1280, 384, 8, 5, 51.9, 226.0, 51.3),
    ("b6", 1536, 384, 8, 5, 51.9, 325.0, 53.4),
)

# backbone, input, pyramid width and stacks, head layers, anchor scale; published parameters.
_LITE_ROWS = {
    "lite0": ("lite0", 320, 64, 3, 3, 3.0, 3.2),
    "lite1": ("lite1", 384, 88, 4, 3, 3.0, 4.2),
    "lite2": ("lite2", 448, 112, 5, 3, 3.0, 5.3),
    "lite3": ("lite3", 512, 160, 6, 4, 4.0, 8.4),
    "lite3x": ("lite3", 640, 200, 6, 4, 3.0, 9.3),
    "lite4": ("lite4", 640, 224, 7, 4, 4.0, 15.1),
}


def _efficientdets() -> list[Preset]:
    found = []
    for phi, (backbone, size, width, stacks, layers, millions, billions, ap) in enumerate(
        _EFFICIENTDET_ROWS
    ):
        preset = Preset(
            f"efficientdet-d{phi}",
            _EFFICIENTDET,
            size,
            efficientnet(backbone).backbone,
            HeadSize(layers, width),
            # D6 and D7 dropped the weights of the fusion for stability.
            BiFPN(width, stacks, "sum" if phi >= 6 else "fast"),
            anchor_scale=5.0 if phi == 7 else 4.0,
            drop_rate=0.2,
            published=Published(millions, billions, ap),
        )
        found.append(preset)
    found.append(
        replace(
            found[-1],
            name="efficientdet-d7x",
            backbone=efficientnet("b7").backbone,
            levels=(3, 8),
            anchor_scale=4.0,
            published=Published(77.0, 410.0),
        )
    )
    for name, (variant, size, width, stacks, layers, scale, millions) in _LITE_ROWS.items():
        lite = efficientnet(variant).backbone
        found.append(
            Preset(
                f"efficientdet-{name}",
                _LITE_SOURCE,
                size,
                lite,
                HeadSize(layers, width),
                BiFPN(width, stacks, "sum"),
                anchor_scale=scale,
                activation="relu6",
                drop_rate=0.2,
                normalization=lite.normalization,
                published=Published(millions),
            )
        )
    return found


def _eff_spinenets() -> list[Preset]:
    # Table 2's row; anchor scale; the paper's figures (Tables 3, 7 and 8).
    rows = (
        ("m0", 3.0, 0.67, 0.15, 17.3),
        ("m1", 3.0, 0.99, 0.51, 25.0),
        ("m2", 3.0, 2.36, 0.97, 29.2),
        ("d0", 4.0, 3.6, 2.5, 34.7),
        ("d1", 4.0, 5.2, 6.0, 39.9),
        ("d2", 4.0, 6.2, 10.3, 42.5),
        ("sp-b0", 4.0, 4.4, 2.4, 33.0),
    )
    found = []
    for name, anchor_scale, millions, billions, ap in rows:
        variant = eff_spinenet.variant(name)
        found.append(
            Preset(
                eff_spinenet.full_name(name),
                _SP_EFFICIENTNET if name == "sp-b0" else _EFF_SPINENET,
                variant.size,
                variant.backbone,
                HeadSize(variant.head_layers, variant.backbone.feature_width),
                anchor_scale=anchor_scale,
                normalization=GREY if name.startswith("m") else IMAGENET,
                published=Published(millions, billions, ap, classes=91),
            )
        )
    return found


def _spinenet_mobiles() -> list[Preset]:
    # Figures of 49 alone; sizes and widths are the released configurations'.
    rows = (("49", 384, 48, 2.3, 28.6), ("49s", 384, 40, None, None), ("49xs", 256, 24, None, None))
    return [
        Preset(
            f"spinenet-mobile-{name}",
            "the released relatives of Eff-SpineNet (Du et al. 2020)",
            size,
            spinenet_mobile(name),
            HeadSize(HEAD_LAYERS, width),
            anchor_scale=3.0,
            published=Published(millions, None, ap, classes=91),
        )
        for name, size, width, millions, ap in rows
    ]


def _pyramid_detectors() -> list[Preset]:
    found = []
    # Eff-SpineNet, Table 3: EfficientNet with a separable FPN and the heads of Table 2.
    for variant, size, width, millions, billions, ap in (
        ("b0", 512, 64, 3.7, 2.5, 33.5),
        ("b1", 640, 88, 6.3, 5.8, 38.8),
        ("b2", 768, 112, 7.5, 10.0, 41.4),
    ):
        found.append(
            Preset(
                f"efficientnet-{variant}-fpn",
                "Eff-SpineNet (Du et al. 2020), Table 3",
                size,
                efficientnet(variant).backbone,
                HeadSize(3, width),
                FPN(width, separable=True),
                drop_rate=0.2,
                published=Published(millions, billions, ap, classes=91),
            )
        )
    retina = Preset(
        "retinanet-resnet50-fpn",
        _NAS_FPN,
        640,
        ResNet(50),
        HeadSize(4, 256, separable=False),
        FPN(256),
        activation="relu",
        published=Published(34.0, 193.6 / 2, 37.0, classes=91),
    )
    found += [
        retina,
        replace(
            retina,
            name="retinanet-resnet101-fpn",
            backbone=ResNet(101),
            published=Published(53.0, 254.2 / 2, 37.8, classes=91),
        ),
        replace(
            retina,
            name="retinanet-resnet50-nasfpn",
            pyramid=NASFPN(256, 7),
            published=Published(60.3, 281.3 / 2, 39.9, classes=91),
        ),
    ]
    mobile = Preset(
        "mobilenetv2-nasfpnlite",
        f"{_NAS_FPN}; its table for P3 to P6 was never published: see docs/models.md",
        320,
        MobileNetV2(),
        HeadSize(4, 48),
        NASFPN(48, 3, separable=True),
        levels=(3, 6),
        activation="relu6",
        normalization=GREY,
        published=Published(2.16, 1.52 / 2, 24.2, classes=91),
    )
    found += [
        mobile,
        replace(
            mobile,
            name="mobilenetv2-fpnlite",
            paper=_NAS_FPN,
            head=HeadSize(4, 128),
            pyramid=FPN(128, separable=True),
            published=Published(2.20, 2.03 / 2, 24.3, classes=91),
        ),
    ]
    return found


_PRESETS = {
    preset.name: preset
    for preset in (
        *_eff_spinenets(),
        *_spinenet_mobiles(),
        *_efficientdets(),
        *_pyramid_detectors(),
    )
}

_SUFFIXES: dict[str, dict[str, OptionValue]] = {
    **{f"-{name}": {"activation": name} for name in ACTIVATIONS},
    "-hswish": {"activation": "hard_swish"},
    "-nose": {"se": False},
    "-nos2d": {"space_to_depth": False},
    "-sum": {"fusion": "sum"},
}
_STACKS = re.compile(r"-(\d{1,3})@(\d{1,4})$")


def presets() -> tuple[Preset, ...]:
    """Every preset, by family, smallest first."""
    return tuple(_PRESETS.values())


def preset(name: str, options: Mapping[str, OptionValue] | None = None) -> Preset:
    """The preset called `name`, changed by `options` (see `configured`).

    Raises:
        InvalidInputError: there is none, or it has no such option.
    """
    if name not in _PRESETS:
        near = _similar(name)[:3]
        hint = f"did you mean {' or '.join(near)}?" if near else "`edgedet models` lists all."
        raise InvalidInputError(f"There is no model {name!r}; {hint}")
    return configured(_PRESETS[name], options or {})


def _similar(name: str) -> list[str]:
    """Presets of a name like this, the most similar first; among equals the smallest first."""
    ratios = {each: difflib.SequenceMatcher(None, each, name).ratio() for each in _PRESETS}
    return sorted(
        (each for each in ratios if ratios[each] >= 0.5), key=ratios.__getitem__, reverse=True
    )


def parse_name(name: str) -> tuple[str, dict[str, Any]]:
    """Split a name from the options at its end.

    `-7@256` is stacks and width of the pyramid, `-relu6`, `-hswish`, `-relu` and `-swish` the
    activation, `-nose` leaves squeeze-and-excite out, `-nos2d` space-to-depth, and `-sum` the
    learned weights of merged maps: `efficientdet-d0-relu6-nose`.

    Returns:
        The preset's name, and options, `activation` among them.
    """
    options: dict[str, Any] = {}
    while name not in _PRESETS:
        suffix = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
        if suffix is not None:
            options = {**_SUFFIXES[suffix], **options}
            name = name.removesuffix(suffix)
        elif found := _STACKS.search(name):
            options = {"stacks": int(found[1]), "width": int(found[2]), **options}
            name = name[: found.start()]
        else:
            break
    return name, options


def configured(preset: Preset, options: Mapping[str, OptionValue]) -> Preset:
    """A preset changed by options.

    Args:
        preset: what to change.
        options: `stacks` and `width` of the pyramid (and of the heads), `fusion` of a BiFPN (for
            Eff-SpineNet `fast` or `sum`), `se` false to leave squeeze-and-excite out,
            `space_to_depth` false to leave that out of Eff-SpineNet, `anytime` for heads after
            every pyramid of the stack, `exit` for the pyramid whose heads are the network's.

    Raises:
        InvalidInputError: the preset has no such option, or not this value of it.
    """
    for key in sorted(options):  # anytime comes before exit, which needs it
        preset = _OPTIONS.get(key, _unknown)(preset, key, options[key])
    if preset.exit is not None and preset.pyramid and preset.exit > preset.pyramid.stacks:
        raise InvalidInputError(
            f"{preset.name} has {preset.pyramid.stacks} stacked pyramids: exit {preset.exit} is "
            "beyond them."
        )
    return preset


def _unknown(preset: Preset, key: str, value: OptionValue) -> Preset:
    raise InvalidInputError(
        f"{preset.name} has no option {key!r}; options are {', '.join(sorted(_OPTIONS))}."
    )


def _whole(preset: Preset, key: str, value: OptionValue, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidInputError(f"{preset.name}: {key} must be a whole number from 1 to {most}.")
    return value


def _flag(preset: Preset, key: str, value: OptionValue) -> bool:
    if not isinstance(value, bool):
        raise InvalidInputError(f"{preset.name}: {key} must be true or false.")
    return value


def _with_stacks(preset: Preset, key: str, value: OptionValue) -> Preset:
    stacks = _whole(preset, key, value, 64)
    if not isinstance(preset.pyramid, (BiFPN, NASFPN)):
        raise InvalidInputError(f"{preset.name} has no stacked pyramid; leave out {key}.")
    return replace(preset, pyramid=replace(preset.pyramid, stacks=stacks))


def _with_width(preset: Preset, key: str, value: OptionValue) -> Preset:
    width = _whole(preset, key, value, 4096)
    if not isinstance(preset.pyramid, (BiFPN, NASFPN, FPN)):
        raise InvalidInputError(f"{preset.name} has no pyramid; leave out {key}.")
    return replace(
        preset,
        pyramid=replace(preset.pyramid, width=width),
        head=replace(preset.head, width=width),
    )


def _with_fusion(preset: Preset, key: str, value: OptionValue) -> Preset:
    if isinstance(preset.backbone, EffSpineNet) and value in ("fast", "sum"):
        weighted = replace(preset.backbone, weighted_fusion=value == "fast")
        return replace(preset, backbone=weighted)
    if not isinstance(preset.pyramid, BiFPN) or value not in FUSIONS:
        raise InvalidInputError(
            f"{preset.name}: {key} is one of {', '.join(FUSIONS)} for BiFPN detectors, fast or sum "
            "for Eff-SpineNet."
        )
    return replace(preset, pyramid=replace(preset.pyramid, fusion=str(value)))


def _with_se(preset: Preset, key: str, value: OptionValue) -> Preset:
    backbone: Any = preset.backbone
    if not getattr(backbone, "se_ratio", 0.0):
        raise InvalidInputError(f"{preset.name} has no squeeze-and-excite; leave out {key}.")
    if _flag(preset, key, value):
        return preset
    return replace(preset, backbone=replace(backbone, se_ratio=0.0))


def _with_space_to_depth(preset: Preset, key: str, value: OptionValue) -> Preset:
    if not isinstance(preset.backbone, EffSpineNet):
        raise InvalidInputError(f"{preset.name} has no space-to-depth; leave out {key}.")
    backbone = replace(preset.backbone, space_to_depth=_flag(preset, key, value))
    return replace(preset, backbone=backbone)


def _with_anytime(preset: Preset, key: str, value: OptionValue) -> Preset:
    anytime = _flag(preset, key, value)
    if anytime and not isinstance(preset.pyramid, (BiFPN, NASFPN)):
        raise InvalidInputError(f"{preset.name} has no stacked pyramid to leave early.")
    return replace(preset, anytime=anytime)


def _with_exit(preset: Preset, key: str, value: OptionValue) -> Preset:
    stack = _whole(preset, key, value, 64)
    if not preset.anytime:
        raise InvalidInputError(f"{preset.name}: {key} needs anytime, which trains early exits.")
    return replace(preset, exit=stack)


_OPTIONS = {
    "anytime": _with_anytime,
    "exit": _with_exit,
    "fusion": _with_fusion,
    "se": _with_se,
    "space_to_depth": _with_space_to_depth,
    "stacks": _with_stacks,
    "width": _with_width,
}


def scale(family: str, phi: float) -> Preset:
    """A detector of any size by its paper's compound scaling.

    EfficientDet, Eqs. 1 to 3: pyramid width 64 * 1.35^phi in steps of 8, 3 + phi stacks,
    3 + floor(phi / 3) head layers, input 512 + 128 phi, the EfficientNet of phi (its own Eq. 3).
    Whole numbers up to 7 give the printed rows of Table 1, which depart from the equations in
    places. Eff-SpineNet prints rows alone (Table 2): whole numbers up to 2.

    Args:
        family: efficientdet or eff-spinenet.
        phi: compound coefficient, 0 or more.

    Raises:
        InvalidInputError: unknown family, or phi out of its range.
    """
    if family not in ("efficientdet", "eff-spinenet"):
        raise InvalidInputError(f"There is no scaling of {family!r}; use efficientdet.")
    printed = f"{family}-d{phi:g}"
    if printed in _PRESETS:
        return _PRESETS[printed]
    if family == "eff-spinenet":
        raise InvalidInputError("Eff-SpineNet's paper scales to 0, 1 and 2 only.")
    if not 0 <= phi <= 10:
        raise InvalidInputError(f"phi must lie in 0 to 10, not {phi:g}.")
    width = 8 * round(64 * 1.35**phi / 8)
    coefficients = efficientnet_coefficients(phi)
    stacks = 3 + math.floor(phi + 0.5)
    multiple = 2**7
    return replace(
        _PRESETS["efficientdet-d0"],
        name=printed,
        size=multiple * math.floor((512 + 128 * phi) / multiple + 0.5),
        backbone=EfficientNet(coefficients.width, coefficients.depth),
        head=HeadSize(3 + math.floor(phi / 3), width),
        pyramid=BiFPN(width, stacks),
        published=Published(),
    )


def preset_spec(
    name: str,
    labels: Sequence[str],
    category_ids: Sequence[int] | None = None,
    *,
    size: int | None = None,
    activation: str | None = None,
    anchor_scale: float | None = None,
    **options: OptionValue,
) -> ModelSpec:
    """The `ModelSpec` of a preset for these labels.

    Args:
        name: a preset, with options at its end or without (see `parse_name`).
        labels: class names.
        category_ids: ids of the classes in the data set; 1, 2, ... by default.
        size: side of the square input in pixels; the preset's by default. A multiple of the
            coarsest level's stride, except where the preset's own is none.
        activation: swish, hard_swish, relu6 or relu; the preset's by default.
        anchor_scale: side of the first anchor in strides; the preset's by default.
        options: see `configured`.

    Raises:
        InvalidInputError: unknown name, or a value out of range.
    """
    name, named = parse_name(name)
    named_activation = named.pop("activation", None)
    options = {**named, **options}
    chosen = preset(name, options)
    activation = activation or named_activation or chosen.activation
    side = chosen.size if size is None else size
    multiple = 2 ** chosen.levels[1]
    if side != chosen.size and (side <= 0 or side % multiple):
        raise InvalidInputError(
            f"The input size of {name} must be a multiple of {multiple}, the stride of its "
            f"coarsest level P{chosen.levels[1]}, not {side}."
        )
    if activation not in ACTIVATIONS:
        raise InvalidInputError(
            f"There is no activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}."
        )
    if side > MAX_SIDE:
        raise InvalidInputError(
            f"An input of {side} x {side} pixels is larger than any model here can have; choose "
            f"{MAX_SIDE} at most."
        )
    return ModelSpec(
        name=name,
        input=InputSpec(side, side, *chosen.normalization),
        anchors=AnchorSpec(
            *chosen.levels, scale=chosen.anchor_scale if anchor_scale is None else anchor_scale
        ),
        labels=tuple(labels),
        category_ids=tuple(range(1, len(labels) + 1) if category_ids is None else category_ids),
        activation=activation,
        options=options,
    )
