"""Feature pyramids: tables against the papers' figures, shapes, fusion rules, exits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models import at_exit, build, load_model, preset_spec, save_model
from edgedet.models.blocks import BlockStyle
from edgedet.models.dropblock import DropBlock
from edgedet.models.graph import Feature, Node, leftovers, walk
from edgedet.models.layers import NearestUpsampling, WeightedFusion
from edgedet.models.pyramids import (
    FPN,
    NAS_FPN,
    NAS_FPN_LITE,
    NASFPN,
    BiFPN,
    bifpn_nodes,
    fpn_nodes,
)
from edgedet.spec import ModelSpec

RNG = np.random.default_rng(7)


def test_bifpn_is_the_papers() -> None:
    # EfficientDet, Fig. 3e: down from P7, then up; the ways up also take the entry maps.
    assert bifpn_nodes(range(3, 8)) == (
        Node(6, (3, 4)),
        Node(5, (2, 5)),
        Node(4, (1, 6)),
        Node(3, (0, 7), output=True),
        Node(4, (1, 7, 8), output=True),
        Node(5, (2, 6, 9), output=True),
        Node(6, (3, 5, 10), output=True),
        Node(7, (4, 11), output=True),
    )


@pytest.mark.parametrize("levels", [range(3, 9), range(2, 8), range(3, 5)])
def test_bifpn_of_other_levels_returns_each_once(levels: range) -> None:
    nodes = bifpn_nodes(levels)
    assert sorted(node.level for node in nodes if node.output) == list(levels)
    assert len(nodes) == 2 * len(levels) - 2
    assert leftovers(nodes, levels) == {}


def test_fpn_goes_down_once_and_smooths_every_level() -> None:
    nodes = fpn_nodes(range(3, 8), 3)
    assert [node.level for node in nodes] == [5, 4, 3, 3, 4, 5, 6, 7]
    assert [node.inputs for node in nodes] == [
        (2,),
        (1, 3),
        (0, 4),
        (5,),
        (4,),
        (3,),
        (8,),
        (9,),
    ]


@pytest.mark.parametrize(
    ("table", "coarsest", "extra"),
    [(NAS_FPN, 7, {9: (2,), 10: (4,)}), (NAS_FPN_LITE, 6, {8: (2,)})],
)
def test_nas_fpn_takes_up_what_nothing_uses(
    table: tuple[Node, ...], coarsest: int, extra: dict[int, tuple[int, ...]]
) -> None:
    assert leftovers(table, range(3, coarsest + 1)) == extra
    assert sorted(node.level for node in table if node.output) == list(range(3, coarsest + 1))


def test_walk_leaves_out_leftovers_of_another_width() -> None:
    features = [Feature(3, keras.Input((8, 8, width))) for width in (4, 6)]
    merged: list[int] = []

    def fuse(maps: Sequence[Feature], op: str, name: str) -> object:
        merged.append(len(maps))
        return maps[0].tensor

    walk(
        [Node(3, (0,), output=True)],
        features,
        [4],
        resample=lambda feature, level, channels, name: feature.tensor,
        fuse=fuse,
        block=lambda x, identity, name: x,
    )
    assert merged == [1]


def _outputs(
    pyramid: BiFPN | FPN | NASFPN, levels: range, side: int = 64
) -> tuple[keras.Model, list[dict[int, object]]]:
    widths = {3: 5, 4: 6, 5: 7}
    inputs = {
        level: keras.Input((-(-side // 2**level),) * 2 + (width,), name=f"c{level}")
        for level, width in widths.items()
    }
    stacks = pyramid.features(inputs, levels, BlockStyle())
    return keras.Model(list(inputs.values()), stacks[-1]), stacks


@pytest.mark.parametrize(
    ("pyramid", "levels"),
    [
        (BiFPN(8, 2), range(3, 8)),
        (BiFPN(8, 2, "softmax"), range(3, 9)),
        (BiFPN(8, 1, "sum"), range(3, 8)),
        (FPN(8), range(3, 8)),
        (FPN(8, separable=True), range(3, 7)),
        (NASFPN(8, 2), range(3, 8)),
        (NASFPN(8, 2, separable=True, keep_rate=0.9), range(3, 7)),
    ],
)
def test_every_pyramid_has_a_map_of_its_width_per_level(
    pyramid: BiFPN | FPN | NASFPN, levels: range
) -> None:
    network, stacks = _outputs(pyramid, levels, side=256)
    assert len(stacks) == pyramid.stacks
    shapes = {level: tuple(tensor.shape) for level, tensor in network.output.items()}
    assert shapes == {level: (None, 256 >> level, 256 >> level, 8) for level in levels}


def test_bifpn_takes_odd_maps_as_well() -> None:
    # 320 pixels have 5 columns at P6 and 3 at P7: EfficientDet-Lite0.
    network, _ = _outputs(BiFPN(8, 1), range(3, 8), side=320)
    assert [network.output[level].shape[1] for level in range(3, 8)] == [40, 20, 10, 5, 3]


def test_odd_maps_are_enlarged_to_the_nearest_pixel_above_and_left() -> None:
    x = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1)
    enlarged = np.asarray(NearestUpsampling(2, size=(1, 5))(x)).ravel()
    # floor(i * 3 / 5)
    np.testing.assert_array_equal(enlarged, [0, 0, 1, 1, 2])


def _enlarged(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _pooled(x: np.ndarray, side: int, stride: int) -> np.ndarray:
    """Maximum of windows that begin at multiples of the stride; of an even map."""
    return np.stack(
        [
            np.stack(
                [
                    x[:, row : row + side, column : column + side].max(axis=(1, 2))
                    for column in range(0, x.shape[2], stride)
                ],
                axis=1,
            )
            for row in range(0, x.shape[1], stride)
        ],
        axis=1,
    )


class Walked:
    """A pyramid of 4 channels on random maps P3 to P5, and its layers to be called one by one."""

    def __init__(self, pyramid: BiFPN | FPN | NASFPN, levels: range) -> None:
        keras.utils.set_random_seed(7)
        inputs = [keras.Input((256 >> level, 256 >> level, 4)) for level in (3, 4, 5)]
        maps = dict(zip((3, 4, 5), inputs, strict=True))
        stacks = pyramid.features(maps, levels, BlockStyle("swish"))
        outputs = {
            f"{stack} P{level}": x for stack, maps in enumerate(stacks) for level, x in maps.items()
        }
        self.network = keras.Model(inputs, outputs)
        # Activations differ above 6 and below 0.
        rng = np.random.default_rng(7)
        self.maps = [5 * rng.normal(size=(1, *x.shape[1:])).astype(np.float32) for x in inputs]
        self.outputs = self.network(self.maps)

    def chain(self, x: np.ndarray, *names: str) -> np.ndarray:
        for name in names:
            x = np.asarray(self.network.get_layer(name)(x))
        return x

    def separable(self, x: np.ndarray, node: str) -> np.ndarray:
        return self.chain(x, f"{node}_depthwise", f"{node}_conv", f"{node}_bn")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(x / 2)


def _swish(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(x)


def test_bifpn_computes_what_its_figure_draws() -> None:
    walked = Walked(BiFPN(4, 2), range(3, 7))
    p3, p4, p5 = walked.maps
    p6 = _pooled(p5, 3, 2)  # EfficientDet's own pooling

    def node(stack: int, identity: int, *merged: np.ndarray) -> np.ndarray:
        # Every weight starts at 1; activation, then convolution.
        fused = sum(merged) / (len(merged) + 1e-4)
        return walked.separable(_swish(fused), f"bifpn_{stack}_node_{identity}")

    for stack in range(2):
        down5 = node(stack, 4, p5, _enlarged(p6))
        down4 = node(stack, 5, p4, _enlarged(down5))
        p3 = node(stack, 6, p3, _enlarged(down4))
        p4 = node(stack, 7, p4, down4, _pooled(p3, 3, 2))
        p5 = node(stack, 8, p5, down5, _pooled(p4, 3, 2))
        p6 = node(stack, 9, p6, _pooled(p5, 3, 2))
        for level, expected in zip(range(3, 7), (p3, p4, p5, p6), strict=True):
            found = walked.outputs[f"{stack} P{level}"]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_bifpns_entries_of_another_width_are_projected_and_pooled() -> None:
    network, _ = _outputs(BiFPN(8, 1), range(3, 8))
    names = [layer.name for layer in network.layers if layer.name.startswith("bifpn_entry_")]
    projection = ["bifpn_entry_6_conv", "bifpn_entry_6_bn"]
    assert names == [*projection, "bifpn_entry_6_pool", "bifpn_entry_7_pool"]


def test_fpn_computes_what_retinanet_draws() -> None:
    walked = Walked(FPN(6), range(3, 8))
    c3, c4, c5 = walked.maps
    p5 = walked.chain(c5, "fpn_node_3_from_2_conv")
    p4 = walked.chain(c4, "fpn_node_4_from_1_conv") + _enlarged(p5)
    p3 = walked.chain(c3, "fpn_node_5_from_0_conv") + _enlarged(p4)
    outputs = {
        level: walked.chain(x, f"fpn_node_{identity}_conv", f"fpn_node_{identity}_bn")
        for level, identity, x in ((3, 6, p3), (4, 7, p4), (5, 8, p5))
    }
    outputs[6] = walked.chain(outputs[5], "fpn_node_9_conv", "fpn_node_9_bn")
    # "P7 is computed by applying ReLU followed by a 3x3 stride-2 conv on P6."
    outputs[7] = walked.chain(_swish(outputs[6]), "fpn_node_10_conv", "fpn_node_10_bn")
    for level, expected in outputs.items():
        found = walked.outputs[f"0 P{level}"]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    kernels = {walked.network.get_layer(f"fpn_node_{node}_conv").kernel_size for node in (6, 9)}
    assert kernels == {(3, 3)}


@pytest.mark.parametrize("separable", [False, True])
def test_nas_fpn_computes_what_its_figure_draws(separable: bool) -> None:
    walked = Walked(NASFPN(4, 2, separable=separable, keep_rate=0.9), range(3, 8))
    entries = [*walked.maps, *(_pooled(walked.maps[2], side, side) for side in (2, 4))]

    def node(stack: int, identity: int, merged: np.ndarray) -> np.ndarray:
        name = f"nas_fpn_{stack}_node_{identity}"
        x = np.clip(merged, 0, 6 if separable else None)
        if separable:
            return walked.separable(x, name)
        return walked.chain(x, f"{name}_conv", f"{name}_bn")

    def gated(coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
        return coarse + fine * _sigmoid(coarse.max(axis=(1, 2), keepdims=True))

    for stack in range(2):
        p3, p4, p5, p6, p7 = entries
        first = node(stack, 5, gated(_enlarged(_enlarged(p6)), p4))
        second = node(stack, 6, p4 + first)
        out3 = node(stack, 7, p3 + _enlarged(second))
        out4 = node(stack, 8, second + _pooled(out3, 2, 2))
        out5 = node(stack, 9, gated(_pooled(out4, 2, 2), _pooled(out3, 4, 4)) + p5)
        out7 = node(stack, 10, gated(_pooled(out5, 4, 4), _pooled(second, 8, 8)) + p7)
        out6 = node(stack, 11, gated(_enlarged(out7), _pooled(out5, 2, 2)))
        entries = [out3, out4, out5, out6, out7]
        for level, expected in enumerate(entries, start=3):
            found = walked.outputs[f"{stack} P{level}"]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    drops = [layer for layer in walked.network.layers if isinstance(layer, DropBlock)]
    assert len(drops) == 2 * 7
    assert [layer.rate for layer in drops] == pytest.approx([0.1] * len(drops))


def test_nas_fpns_pooling_lets_the_coarse_map_gate_the_fine_one() -> None:
    pyramid = NASFPN(4, 1)
    coarse, fine = keras.Input((2, 2, 4)), keras.Input((2, 2, 4))
    merged = pyramid._fuse([Feature(3, fine), Feature(5, coarse)], "global_pooling", "fusion")
    network = keras.Model([coarse, fine], merged)
    a, b = RNG.normal(size=(2, 1, 2, 2, 4)).astype(np.float32)
    gate = 1 / (1 + np.exp(-a.max(axis=(1, 2), keepdims=True)))
    np.testing.assert_allclose(network([a, b]), a + b * gate, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["fast", "softmax"])
def test_fusion_weighs_by_its_rule(method: str) -> None:
    layer = WeightedFusion(epsilon=1e-4, method=method)
    a, b = RNG.normal(size=(2, 1, 3, 3, 2)).astype(np.float32)
    layer.build([a.shape, b.shape])
    layer.set_weights([np.array([3.0, -1.0], np.float32)])
    if method == "fast":
        expected = a * 3 / (3 + 1e-4)
    else:
        expected = (a * np.exp(3) + b * np.exp(-1)) / (np.exp(3) + np.exp(-1))
    np.testing.assert_allclose(layer([a, b]), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def anytime() -> tuple[keras.Model, ModelSpec]:
    keras.utils.set_random_seed(3)
    spec = preset_spec(
        "mobilenetv2-nasfpnlite", ["a", "b"], size=64, stacks=2, width=16, anytime=True
    )
    return build(spec), spec


def test_an_anytime_network_has_heads_after_every_pyramid(
    anytime: tuple[keras.Model, ModelSpec],
) -> None:
    network, _ = anytime
    names = {f"{head}_{level}" for head in ("class", "box") for level in range(3, 7)}
    assert set(network.output) == names | {f"exit_1_{name}" for name in names}


@pytest.mark.parametrize("stack", [1, 2])
def test_an_exit_computes_what_the_whole_network_does_there(
    anytime: tuple[keras.Model, ModelSpec], stack: int, tmp_path: Path
) -> None:
    network, spec = anytime
    for layer in network.layers:  # statistics that a mixed-up normalization would show
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(RNG.normal(size=layer.moving_mean.shape))
    part, part_spec = at_exit(network, spec, stack)
    images = RNG.normal(size=(1, 64, 64, 3)).astype(np.float32)
    whole, early = network(images), part(images)
    assert set(early) == {f"{head}_{level}" for head in ("class", "box") for level in range(3, 7)}
    prefix = "exit_1_" if stack == 1 else ""
    for name, value in early.items():
        np.testing.assert_allclose(value, whole[prefix + name], rtol=1e-5, atol=1e-5)
    assert len(part.weights) < len(network.weights)

    save_model(part, part_spec, tmp_path / "exit.keras")
    again, _ = load_model(tmp_path / "exit.keras")
    np.testing.assert_array_equal(again(images)["class_3"], early["class_3"])


@pytest.mark.parametrize(("stack", "said"), [(3, "no exit 3; its last is 2"), (0, "no exit 0")])
def test_an_exit_that_is_not_there_is_refused(
    anytime: tuple[keras.Model, ModelSpec], stack: int, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        at_exit(*anytime, stack)
