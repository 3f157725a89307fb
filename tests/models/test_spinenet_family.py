"""Eff-SpineNet's variants, ablations and classifiers, and Mobile SpineNet, against their papers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import BlockStyle
from edgedet.models.classifiers import CLASSIFIERS, build_classifier
from edgedet.models.counting import Count, count
from edgedet.models.eff_spinenet import (
    ALLOCATION,
    LEVELS,
    NODES,
    SP_WIDTHS,
    VARIANTS,
    WIDTHS,
    EffSpineNet,
    average_features,
    full_name,
    variant,
    widths_from_allocation,
)
from edgedet.models.layers import StochasticDepth, WeightedFusion
from edgedet.models.spinenet_mobile import spinenet_mobile

ANCHORS = 9


def _multiply_adds_in_the_papers_order(counted: Count) -> int:
    """Multiply-adds with the 1x1 convolutions after the up-sampling, as the paper draws them."""
    total = counted.multiply_adds
    for layer in counted.layers:
        edge = re.fullmatch(r"node_(\d+)_from_(\d+)_conv", layer.name)
        if edge:
            up = LEVELS[int(edge[2])] - LEVELS[int(edge[1])]
            total += layer.multiply_adds * (4 ** max(0, up) - 1)
    return total


@dataclass(frozen=True)
class Row:
    """Exact parameters at 91 and 80 classes; the paper's figures in millions and billions."""

    name: str
    at_91: int
    at_80: int
    in_the_papers_order: float
    paper_parameters: float
    paper_multiply_adds: float


@pytest.mark.parametrize(
    "row",
    [
        Row("m0", 650_808, 648_333, 0.1411, 0.67, 0.15),
        Row("d0", 3_691_878, 3_685_443, 2.3495, 3.6, 2.5),
        Row("d1", 5_148_497, 5_139_686, 5.6894, 5.2, 6.0),
        Row("d2", 6_219_276, 6_208_089, 9.9396, 6.2, 10.3),
        Row("sp-b0", 4_274_464, 4_268_029, 2.2746, 4.4, 2.4),
    ],
    ids=lambda row: row.name,
)
def test_detectors_count_as_the_papers(row: Row, counted: Callable[[str], Count]) -> None:
    cost = counted(full_name(row.name))
    assert cost.parameters == row.at_91
    # Fewer classes narrow the class predictor alone.
    width = variant(row.name).backbone.feature_width
    assert cost.parameters - (width + 1) * ANCHORS * 11 == row.at_80
    multiply_adds = _multiply_adds_in_the_papers_order(cost) / 1e9
    assert multiply_adds == pytest.approx(row.in_the_papers_order, abs=5e-5)
    assert cost.parameters / 1e6 == pytest.approx(row.paper_parameters, rel=0.03)
    # The paper's profiler also counts activations, biases and normalizations.
    assert multiply_adds == pytest.approx(row.paper_multiply_adds, rel=0.065)


def test_the_ablations_of_table_9(counted: Callable[[str], Count]) -> None:
    without = replace(variant("d0").backbone, space_to_depth=False)
    image = keras.Input((128, 128, 3))
    model_1 = count(keras.Model(image, without.features(image, BlockStyle())))
    heads = [counted("eff-spinenet-d0").by_part()[f"{head} head"][0] for head in ("class", "box")]
    assert model_1.parameters + sum(heads) == 3_306_190
    assert not [layer for layer in model_1.layers if "s2d" in layer.name]
    # 15 nodes with two weights, and node 15 with three.
    fusions = [layer.parameters for layer in model_1.layers if layer.kind == "WeightedFusion"]
    assert sum(fusions) == 33
    features = replace(without, weighted_fusion=False).features(image, BlockStyle())
    model_2 = keras.Model(image, features)
    assert not [layer for layer in model_2.layers if isinstance(layer, WeightedFusion)]


@pytest.mark.usefixtures("without_weights")
def test_squeeze_and_excite_can_be_left_out() -> None:
    image = keras.Input((128, 128, 3))
    features = EffSpineNet(0.4, 24, se_ratio=0).features(image, BlockStyle())
    assert not [layer.name for layer in keras.Model(image, features).layers if "_se_" in layer.name]


def test_the_allocation_yields_all_widths_of_table_1() -> None:
    assert widths_from_allocation(ALLOCATION) == WIDTHS
    assert set(ALLOCATION) <= {1, 5, 10, 15, 20}


def test_an_even_allocation_changes_nothing() -> None:
    assert widths_from_allocation([7] * 18) == SP_WIDTHS


def test_an_allocation_keeps_the_total_and_follows_the_shares() -> None:
    # Without rounding to speak of: widths of thousands.
    widths = widths_from_allocation([4, 1], (8000, 16000), (2, 3))
    costs = [width**2 / 4**level for width, level in zip(widths, (2, 3), strict=True)]
    before = [8000**2 / 4**2, 16000**2 / 4**3]
    assert sum(costs) == pytest.approx(sum(before), rel=1e-3)
    assert (costs[0] / before[0]) / (costs[1] / before[1]) == pytest.approx(4, rel=5e-3)


@pytest.mark.parametrize(
    ("allocation", "said"),
    [([1] * 17, "each of the 18 blocks"), ([1] * 17 + [0], "positive share")],
)
def test_allocations_that_fit_no_network_are_refused(allocation: list[int], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        widths_from_allocation(allocation)


@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [("49", 2_337_579, 2.338), ("49s", 1_030_653, 1.031), ("49xs", 872_711, 0.873)],
)
def test_mobile_spinenet_counts_as_released(
    name: str, parameters: int, millions: float, counted: Callable[[str], Count]
) -> None:
    assert counted(f"spinenet-mobile-{name}").parameters == parameters
    assert parameters / 1e6 == pytest.approx(millions, abs=5e-4)


@pytest.fixture(scope="module")
def mobile() -> keras.Model:
    image = keras.Input((128, 128, 3))
    return keras.Model(image, spinenet_mobile("49s").features(image, BlockStyle("hard_swish")))


def test_mobile_spinenet_rounds_widths_down(mobile: keras.Model) -> None:
    assert mobile.get_layer("stem_conv").filters == 5
    widths = [mobile.get_layer(f"node_{node}_block0_project_conv").filters for node in range(18)]
    by_level = {1: 10, 2: 15, 3: 26, 4: 52, 5: 72, 6: 72, 7: 72}
    assert widths == [by_level[level] for level in LEVELS]


def test_mobile_spinenet_has_eff_spinenets_edges(mobile: keras.Model) -> None:
    edges = {
        (int(found[1]), int(found[2]))
        for layer in mobile.layers
        if (found := re.fullmatch(r"node_(\d+)_from_(\d+)_conv", layer.name))
    }
    assert edges == {
        (node, source) for node, row in enumerate(NODES, start=2) for source in row.inputs
    }
    merged = {
        layer.name: len(layer.input) for layer in mobile.layers if layer.name.endswith("_fusion")
    }
    assert merged == {f"node_{node}_fusion": 3 if node == 15 else 2 for node in range(2, 18)}


def test_mobile_spinenet_sums_strides_and_gates_in_its_own_way(mobile: keras.Model) -> None:
    kinds = {layer.name: type(layer) for layer in mobile.layers}
    assert WeightedFusion not in kinds.values()
    assert not [name for name in kinds if "s2d" in name]
    assert "node_8_block0_se_reduce_relu" in kinds
    gate = mobile.get_layer("node_8_block0_se_excite").activation
    assert gate is keras.activations.hard_sigmoid
    assert "node_8_block0_expand_hard_swish" in kinds


def test_mobile_spinenet_computes(mobile: keras.Model) -> None:
    outputs = mobile(np.ones((1, 128, 128, 3), np.float32))
    features = {level: np.asarray(maps) for level, maps in outputs.items()}
    assert {level: maps.shape for level, maps in features.items()} == {
        level: (1, 128 // 2**level, 128 // 2**level, 40) for level in range(3, 8)
    }
    assert all(np.isfinite(maps).all() and np.ptp(maps) > 0 for maps in features.values())


@pytest.mark.usefixtures("without_weights")
def test_stochastic_depth_grows_to_the_last_block() -> None:
    image = keras.Input((128, 128, 3))
    network = keras.Model(image, EffSpineNet(0.4, 24).features(image, BlockStyle(), drop_rate=0.2))
    rates = {
        layer.name: layer.rate for layer in network.layers if isinstance(layer, StochasticDepth)
    }
    assert rates == {
        f"node_{node}_block0_drop": pytest.approx(0.2 * (node - 1) / 16) for node in range(2, 18)
    }


@pytest.mark.usefixtures("without_weights")
def test_repeats_add_blocks_to_their_node_only() -> None:
    image = keras.Input((128, 128, 3))
    repeats = (1, 2, *(1,) * 16)
    network = keras.Model(image, EffSpineNet(0.4, 24, repeats).features(image, BlockStyle()))
    names = [layer.name for layer in network.layers]
    assert [name for name in names if "block1" in name and name.endswith("_add")] == [
        "node_1_block1_add"
    ]
    # The second block keeps the resolution.
    assert network.get_layer("node_1_block1_add").output.shape[1:3] == (32, 32)


@pytest.mark.usefixtures("without_weights")
def test_odd_sizes_are_rounded_up_level_by_level() -> None:
    image = keras.Input((240, 200, 3))
    features = EffSpineNet(0.4, 24).features(image, BlockStyle())
    assert {level: tuple(maps.shape[1:]) for level, maps in features.items()} == {
        3: (30, 25, 24),
        4: (15, 13, 24),
        5: (8, 7, 24),
        6: (4, 4, 24),
        7: (2, 2, 24),
    }
    for layer in keras.Model(image, features).layers:
        if layer.name.endswith("_fusion"):
            assert len({tuple(map_.shape) for map_ in layer.input}) == 1, layer.name


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: variant("d3"), "choose one of m0, m1"),
        (lambda: spinenet_mobile("143"), "choose one of 49, 49s"),
        (lambda: EffSpineNet(repeats=(1,) * 16), "repeats must be 18 positive numbers"),
        (lambda: EffSpineNet(widths=(0,) * 18), "widths must be 18 positive numbers"),
        (
            lambda: EffSpineNet().features(keras.Input((None, 128, 3)), BlockStyle()),
            "images of a known size",
        ),
    ],
)
def test_what_fits_no_network_is_refused(make: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        make()  # type: ignore[operator]


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    ("name", "size", "dropout", "parameters", "paper_parameters", "paper_multiply_adds"),
    [
        ("d0", 224, 0.2, 3_563_679, 3.57, 0.38),
        ("d1", 240, 0.2, 4_963_394, 4.97, 0.70),
        ("d2", 256, 0.3, 5_895_109, 5.83, 0.89),
    ],
)
def test_classifiers_count_as_table_10(
    name: str,
    size: int,
    dropout: float,
    parameters: int,
    paper_parameters: float,
    paper_multiply_adds: float,
) -> None:
    network = build_classifier(f"eff-spinenet-{name}")
    assert network.input.shape == (None, size, size, 3)
    assert network.output.shape == (None, 1000)
    assert network.get_layer("dropout").rate == dropout
    counted = count(network)
    assert counted.parameters == parameters
    assert counted.parameters / 1e6 == pytest.approx(paper_parameters, rel=0.015)
    multiply_adds = _multiply_adds_in_the_papers_order(counted) / 1e9
    assert multiply_adds == pytest.approx(paper_multiply_adds, rel=0.065)


def test_every_variant_classifies() -> None:
    names = {name for name in CLASSIFIERS if "sp" in name}
    assert (
        names
        == {full_name(name) for name in VARIANTS}
        == {
            *(f"eff-spinenet-{size}" for size in ("m0", "m1", "m2", "d0", "d1", "d2")),
            "sp-efficientnet-b0",
        }
    )


def test_a_classifier_gives_logits_for_each_image() -> None:
    keras.utils.set_random_seed(0)
    network = build_classifier("eff-spinenet-m0", 5, 96)
    images = np.random.default_rng(0).normal(size=(2, 96, 96, 3)).astype(np.float32)
    logits = np.asarray(network(images))
    assert logits.shape == (2, 5)
    assert not np.allclose(logits[0], logits[1])


def test_features_are_averaged_at_the_finest_level() -> None:
    rng = np.random.default_rng(0)
    maps = {level: rng.normal(size=(2, *size, 3)) for level, size in ((4, (5, 6)), (5, (3, 3)))}
    maps[6] = rng.normal(size=(2, 2, 2, 3))
    inputs = {level: keras.Input(value.shape[1:]) for level, value in maps.items()}
    average = keras.Model(list(inputs.values()), average_features(inputs))
    expected = sum(
        value.repeat(2 ** (level - 4), axis=1).repeat(2 ** (level - 4), axis=2)[:, :5, :6]
        for level, value in maps.items()
    )
    found = average([value.astype(np.float32) for value in maps.values()])
    np.testing.assert_allclose(np.asarray(found), expected / 3, rtol=1e-5, atol=1e-6)
