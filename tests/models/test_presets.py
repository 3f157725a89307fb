"""Presets: names, options, scaling, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from edgedet.errors import InvalidInputError
from edgedet.models import build, configured, parse_name, preset, preset_spec, presets, scale
from edgedet.models.pyramids import FPN, NASFPN, BiFPN
from edgedet.spec import ModelSpec

NAMES = {
    *(f"efficientdet-d{phi}" for phi in (*range(8), "7x")),
    *(f"efficientdet-lite{phi}" for phi in (*range(5), "3x")),
    *(f"eff-spinenet-{size}" for size in ("m0", "m1", "m2", "d0", "d1", "d2")),
    *(f"efficientnet-b{phi}-fpn" for phi in range(3)),
    *(f"spinenet-mobile-{size}" for size in ("49", "49s", "49xs")),
    "sp-efficientnet-b0",
    "retinanet-resnet50-fpn",
    "retinanet-resnet101-fpn",
    "retinanet-resnet50-nasfpn",
    "mobilenetv2-nasfpnlite",
    "mobilenetv2-fpnlite",
}


IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


def test_the_zoo_is_complete() -> None:
    assert {each.name for each in presets()} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_preset_makes_a_spec_that_survives_json(name: str) -> None:
    spec = preset_spec(name, ["a", "b"])
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.anchors.levels[0] == 3
    assert spec.input.width == preset(name).size


@pytest.mark.parametrize(
    ("name", "plain", "options"),
    [
        ("efficientdet-d0", "efficientdet-d0", {}),
        (
            "retinanet-resnet50-nasfpn-5@384",
            "retinanet-resnet50-nasfpn",
            {"stacks": 5, "width": 384},
        ),
        ("eff-spinenet-m0-relu6", "eff-spinenet-m0", {"activation": "relu6"}),
        (
            "efficientdet-d0-hswish-nose",
            "efficientdet-d0",
            {"activation": "hard_swish", "se": False},
        ),
        (
            "mobilenetv2-nasfpnlite-7@64-relu",
            "mobilenetv2-nasfpnlite",
            {"stacks": 7, "width": 64, "activation": "relu"},
        ),
    ],
)
def test_names_carry_options(name: str, plain: str, options: dict[str, Any]) -> None:
    assert parse_name(name) == (plain, options)
    spec = preset_spec(name, ["a"])
    assert spec.name == plain
    activation = options.pop("activation", preset(plain).activation)
    assert spec.activation == activation
    assert spec.options == options


def test_what_is_asked_for_goes_before_what_the_name_says() -> None:
    assert preset_spec("efficientdet-d0-relu6", ["a"], activation="relu").activation == "relu"
    spec = preset_spec("retinanet-resnet50-nasfpn-5@384", ["a"], stacks=2)
    assert spec.options == {"stacks": 2, "width": 384}


def test_classes_are_numbered_from_1_unless_they_have_ids() -> None:
    assert preset_spec("efficientdet-d0", ["a", "b"]).category_ids == (1, 2)
    assert preset_spec("efficientdet-d0", ["a", "b"], [7, 3]).category_ids == (7, 3)


@pytest.mark.parametrize(
    ("name", "mean", "std", "scale"),
    [
        ("eff-spinenet-m2", (127.5,) * 3, (127.5,) * 3, 3),
        ("eff-spinenet-d0", IMAGENET_MEAN, IMAGENET_STD, 4),
        ("spinenet-mobile-49", IMAGENET_MEAN, IMAGENET_STD, 3),
        ("efficientdet-d6", IMAGENET_MEAN, IMAGENET_STD, 4),
        ("efficientdet-d7", IMAGENET_MEAN, IMAGENET_STD, 5),
        ("efficientdet-d7x", IMAGENET_MEAN, IMAGENET_STD, 4),
        ("efficientdet-lite2", (127,) * 3, (128,) * 3, 3),
        ("efficientdet-lite4", (127,) * 3, (128,) * 3, 4),
        ("efficientnet-b0-fpn", IMAGENET_MEAN, IMAGENET_STD, 4),
        ("retinanet-resnet50-fpn", IMAGENET_MEAN, IMAGENET_STD, 4),
        ("mobilenetv2-fpnlite", (127.5,) * 3, (127.5,) * 3, 4),
    ],
)
def test_inputs_and_anchors_are_those_of_published_weights(
    name: str, mean: tuple[float, ...], std: tuple[float, ...], scale: float
) -> None:
    spec = preset_spec(name, ["a"])
    assert spec.input.mean == pytest.approx(mean)
    assert spec.input.std == pytest.approx(std)
    assert spec.anchors.scale == scale
    assert preset_spec(name, ["a"], anchor_scale=2.5).anchors.scale == 2.5


def test_the_largest_and_the_lite_ones_fuse_without_weights() -> None:
    fusions = {
        each.name.removeprefix("efficientdet-"): each.pyramid.fusion
        for each in presets()
        if isinstance(each.pyramid, BiFPN)
    }
    assert {name for name, fusion in fusions.items() if fusion == "sum"} == {
        *("d6", "d7", "d7x"),
        *("lite0", "lite1", "lite2", "lite3", "lite3x", "lite4"),
    }
    assert {name for name, fusion in fusions.items() if fusion == "fast"} == {
        f"d{phi}" for phi in range(6)
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("efficientdet", r"did you mean efficientdet-d0 or efficientdet-d1 or efficientdet-d2\?"),
        ("efficientdet-do", r"did you mean efficientdet-d0 or"),
        ("effspinenet-m0", "did you mean .*eff-spinenet-m0"),
        ("efficientdet-d0-relu7", "did you mean efficientdet-d"),
        ("yolo", "`edgedet models` lists all"),
    ],
)
def test_unknown_names_get_a_hint(name: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        preset_spec(name, ["a"])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("efficientdet-d0", {"activation": "gelu"}, "no activation 'gelu'; choose one of swish"),
        ("efficientdet-d0", {"stack": 2}, "no option 'stack'; options are anytime, exit"),
        ("efficientdet-d0", {"stacks": 0}, "stacks must be a whole number from 1 to 64"),
        ("efficientdet-d0", {"stacks": True}, "stacks must be a whole number"),
        ("efficientdet-d0", {"fusion": "mean"}, "fusion is one of fast, softmax, sum"),
        ("retinanet-resnet50-fpn", {"stacks": 2}, "no stacked pyramid"),
        ("eff-spinenet-m0", {"width": 2}, "has no pyramid"),
        ("retinanet-resnet50-fpn", {"se": False}, "no squeeze-and-excite"),
        ("efficientdet-lite0", {"se": False}, "no squeeze-and-excite"),
        ("efficientdet-d0", {"se": 1}, "se must be true or false"),
        ("eff-spinenet-m0", {"anytime": True}, "no stacked pyramid to leave early"),
        ("efficientdet-d0", {"exit": 1}, "exit needs anytime"),
        ("efficientdet-d0", {"anytime": True, "exit": 4}, "exit 4 is beyond them"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        preset_spec(name, ["a"], **options)


def test_the_order_of_options_does_not_matter() -> None:
    one = configured(preset("efficientdet-d0"), {"exit": 2, "anytime": True})
    assert one.exit == 2


@pytest.mark.parametrize("size", [0, -128, 100, 192])
def test_sizes_that_the_coarsest_level_does_not_divide_are_explained(size: int) -> None:
    with pytest.raises(InvalidInputError, match="multiple of 128, the stride of its coarsest"):
        preset_spec("eff-spinenet-m0", ["a"], size=size)


def test_levels_that_a_network_lacks_are_refused() -> None:
    text = preset_spec("mobilenetv2-nasfpnlite", ["a"], size=64).to_json()
    spec = ModelSpec.from_json(text.replace('"max_level": 6', '"max_level": 7'))
    with pytest.raises(InvalidInputError, match="has the levels P3 to P6, not P3 to P7"):
        build(spec)


@pytest.mark.parametrize("phi", range(8))
def test_whole_phi_give_the_papers_rows(phi: int) -> None:
    assert scale("efficientdet", phi) == preset(f"efficientdet-d{phi}")


def test_other_phi_follow_the_equations() -> None:
    between = scale("efficientdet", 2.5)
    assert isinstance(between.pyramid, BiFPN)
    # Eq. 1: 64 * 1.35^2.5 = 135.5 and 3 + 2.5; Eq. 2: 3 + floor(2.5 / 3); Eq. 3: 512 + 128 * 2.5.
    assert (between.pyramid.width, between.head.width) == (136, 136)
    assert between.pyramid.stacks == 6
    assert between.head.layers == 3
    assert between.size == 896
    assert between.backbone.depth == pytest.approx(1.2**2.5)  # type: ignore[attr-defined]
    assert between.backbone.width == pytest.approx(1.1**2.5)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("family", "phi"),
    [("efficientdet", -0.5), ("efficientdet", 10.5), ("eff-spinenet", 3), ("a", 0)],
)
def test_phi_out_of_range_is_refused(family: str, phi: float) -> None:
    with pytest.raises(InvalidInputError):
        scale(family, phi)


def test_stacks_and_width_reach_pyramid_and_heads() -> None:
    changed = preset("retinanet-resnet50-nasfpn", {"stacks": 3, "width": 128})
    assert changed.pyramid == NASFPN(128, 3)
    assert changed.head.width == 128
    assert preset("mobilenetv2-fpnlite", {"width": 64}).pyramid == FPN(64, separable=True)
    assert preset("efficientdet-d6", {"fusion": "fast"}).pyramid == BiFPN(384, 8, "fast")


@pytest.mark.parametrize("name", ["efficientdet-d0", "eff-spinenet-m0"])
def test_squeeze_and_excite_is_left_out_when_asked(name: str) -> None:
    assert preset(name).backbone.se_ratio > 0  # type: ignore[attr-defined]
    assert preset(name, {"se": True}) == preset(name)
    assert preset(name, {"se": False}).backbone.se_ratio == 0  # type: ignore[attr-defined]
