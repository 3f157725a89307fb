"""Weights of EfficientDets and RetinaNets that others published: every name has its place.

Each source array is one constant of its own, so that a variable shows where its value is from. What
the networks then compute is compared with the originals by `make oracles`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgedet import archive
from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.models import build, load_model
from edgedet.models.importers import model_garden
from edgedet.models.importers.automl import import_automl
from edgedet.models.importers.coco_labels import COCO, published_labels
from edgedet.models.importers.effdet import import_effdet
from edgedet.models.importers.effdet import read as read_effdet
from edgedet.models.importers.model_garden import import_model_garden
from edgedet.models.importers.model_garden import read as read_model_garden
from edgedet.models.importers.tensorflow_checkpoint import Checkpoint, read_checkpoint

Arrays = dict[str, np.ndarray]
Command = Callable[..., Any]

CLASSES, WIDTH, HEAD_LAYERS = 3, 8, 3
# EfficientNet-B0: repeats, kernel, expansion, width.
STAGES = (
    (1, 3, 1, 16),
    (2, 3, 6, 24),
    (2, 5, 6, 40),
    (3, 3, 6, 80),
    (3, 5, 6, 112),
    (4, 5, 6, 192),
    (1, 3, 6, 320),
)
# BiFPN: inputs of the nodes of a stack; entry maps are 0 to 4. Widths of the backbone's maps.
NODES = ((3, 4), (2, 5), (1, 6), (0, 7), (1, 7, 8), (2, 6, 9), (3, 5, 10), (4, 11))
MAPS = {0: 40, 1: 112, 2: 320}


def constants(shapes: dict[str, tuple[int, ...]]) -> Arrays:
    """Array number n is full of n, and takes no memory."""
    return {
        name: np.broadcast_to(np.float32(number), shape)
        for number, (name, shape) in enumerate(shapes.items(), start=1)
    }


def blocks() -> Iterator[tuple[int, int, int, int, int, int]]:
    """Stage, block within it, kernel, expansion, width before and after."""
    before = 32
    for stage, (repeats, kernel, expand, width) in enumerate(STAGES):
        for block in range(repeats):
            yield stage, block, kernel, expand, before, width
            before = width


def effdet_state(classes: int = CLASSES, stacks: int = 1) -> Arrays:
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, out: int, inputs: int, kernel: int = 1, bias: bool = False) -> None:
        shapes[f"{name}.weight"] = (out, inputs, kernel, kernel)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    def norm(name: str, width: int) -> None:
        for variable in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{variable}"] = (width,)
        shapes[f"{name}.num_batches_tracked"] = ()

    def separable(name: str, out: int = WIDTH) -> None:
        conv(f"{name}.conv_dw", WIDTH, 1, 3)
        conv(f"{name}.conv_pw", out, WIDTH, bias=True)

    conv("backbone.conv_stem", 32, 3, 3)
    norm("backbone.bn1", 32)
    for stage, block, kernel, expand, before, width in blocks():
        name, middle = f"backbone.blocks.{stage}.{block}", before * expand
        if expand == 1:
            conv(f"{name}.conv_dw", middle, 1, kernel)
            norm(f"{name}.bn1", middle)
        else:
            conv(f"{name}.conv_pw", middle, before)
            norm(f"{name}.bn1", middle)
            conv(f"{name}.conv_dw", middle, 1, kernel)
            norm(f"{name}.bn2", middle)
        conv(f"{name}.se.conv_reduce", before // 4, middle, bias=True)
        conv(f"{name}.se.conv_expand", middle, before // 4, bias=True)
        conv(f"{name}.conv_pw" if expand == 1 else f"{name}.conv_pwl", width, middle)
        norm(f"{name}.bn2" if expand == 1 else f"{name}.bn3", width)
    conv("fpn.resample.3.conv.conv", WIDTH, MAPS[2], bias=True)
    norm("fpn.resample.3.conv.bn", WIDTH)
    for stack in range(stacks):
        for number, inputs in enumerate(NODES):
            node = f"fpn.cell.{stack}.fnode.{number}"
            for source in inputs if stack == 0 else ():
                if source in MAPS:
                    resample = f"{node}.combine.resample.{source}.conv"
                    conv(f"{resample}.conv", WIDTH, MAPS[source], bias=True)
                    norm(f"{resample}.bn", WIDTH)
            shapes[f"{node}.combine.edge_weights"] = (len(inputs),)
            separable(f"{node}.after_combine.conv")
            norm(f"{node}.after_combine.conv.bn", WIDTH)
    for head, outputs in (("class_net", 9 * classes), ("box_net", 36)):
        for layer in range(HEAD_LAYERS):
            separable(f"{head}.conv_rep.{layer}")
            for level in range(5):
                norm(f"{head}.bn_rep.{layer}.{level}.bn", WIDTH)
        separable(f"{head}.predict", outputs)
    return constants(shapes)


def automl_variables(classes: int = CLASSES, stacks: int = 1) -> Arrays:
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, width: int) -> None:
        for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{name}/{variable}"] = (width,)

    def conv(name: str, inputs: int, out: int, kernel: int = 1, bias: bool = False) -> None:
        shapes[f"{name}/kernel"] = (kernel, kernel, inputs, out)
        if bias:
            shapes[f"{name}/bias"] = (out,)

    def separable(name: str, out: int = WIDTH) -> None:
        shapes[f"{name}/depthwise_kernel"] = (3, 3, WIDTH, 1)
        shapes[f"{name}/pointwise_kernel"] = (1, 1, WIDTH, out)
        shapes[f"{name}/bias"] = (out,)

    def numbered(name: str, number: int) -> str:
        return f"{name}_{number}" if number else name

    conv("efficientnet-b0/stem/conv2d", 3, 32, 3)
    norm("efficientnet-b0/stem/tpu_batch_normalization", 32)
    for overall, (_, _, kernel, expand, before, width) in enumerate(blocks()):
        name, middle = f"efficientnet-b0/blocks_{overall}", before * expand
        convolutions = norms = 0
        if expand != 1:
            conv(f"{name}/conv2d", before, middle)
            norm(f"{name}/tpu_batch_normalization", middle)
            convolutions = norms = 1
        shapes[f"{name}/depthwise_conv2d/depthwise_kernel"] = (kernel, kernel, middle, 1)
        norm(numbered(f"{name}/tpu_batch_normalization", norms), middle)
        conv(f"{name}/se/conv2d", middle, before // 4, bias=True)
        conv(f"{name}/se/conv2d_1", before // 4, middle, bias=True)
        conv(numbered(f"{name}/conv2d", convolutions), middle, width)
        norm(numbered(f"{name}/tpu_batch_normalization", norms + 1), width)
    conv("resample_p6/conv2d", MAPS[2], WIDTH, bias=True)
    norm("resample_p6/bn", WIDTH)
    for stack in range(stacks):
        for number, inputs in enumerate(NODES):
            node = f"fpn_cells/cell_{stack}/fnode{number}"
            for index, source in enumerate(inputs):
                if stack == 0 and source in MAPS:
                    resample = f"{node}/resample_{index}_{source}_{5 + number}"
                    conv(f"{resample}/conv2d", MAPS[source], WIDTH, bias=True)
                    norm(f"{resample}/bn", WIDTH)
                shapes[numbered(f"{node}/WSM", index)] = ()
            separable(f"{node}/op_after_combine{5 + number}/conv")
            norm(f"{node}/op_after_combine{5 + number}/bn", WIDTH)
    for head, outputs in (("class", 9 * classes), ("box", 36)):
        for layer in range(HEAD_LAYERS):
            separable(f"{head}_net/{head}-{layer}")
            for level in range(3, 8):
                norm(f"{head}_net/{head}-{layer}-bn-{level}", WIDTH)
        separable(f"{head}_net/{head}-predict", outputs)
    return constants(shapes)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return build("efficientdet-d0", num_classes=CLASSES, size=128, width=WIDTH, stacks=1)


@pytest.fixture
def blank(network: keras.Model) -> keras.Model:
    """The network with a start that no source has."""
    for variable in network.weights:
        variable.assign(np.full(variable.shape, -1.0, np.float32))
    return network


def value(network: keras.Model, path: str) -> list[float]:
    """The constants in a variable, without repetition."""
    layer, _, name = path.partition("/")
    found = next(each for each in network.get_layer(layer).weights if each.name == name)
    return list(dict.fromkeys(np.asarray(found).ravel().tolist()))


EFFDET_PLACES = {
    "stem_conv/kernel": "backbone.conv_stem.weight",
    "stem_bn/moving_variance": "backbone.bn1.running_var",
    "stage_0_block_0_depthwise/kernel": "backbone.blocks.0.0.conv_dw.weight",
    "stage_0_block_0_bn/gamma": "backbone.blocks.0.0.bn1.weight",
    "stage_0_block_0_project_conv/kernel": "backbone.blocks.0.0.conv_pw.weight",
    "stage_0_block_0_project_bn/beta": "backbone.blocks.0.0.bn2.bias",
    "stage_5_block_3_expand_conv/kernel": "backbone.blocks.5.3.conv_pw.weight",
    "stage_5_block_3_expand_bn/gamma": "backbone.blocks.5.3.bn1.weight",
    "stage_5_block_3_bn/moving_mean": "backbone.blocks.5.3.bn2.running_mean",
    "stage_5_block_3_se_reduce/bias": "backbone.blocks.5.3.se.conv_reduce.bias",
    "stage_5_block_3_se_excite/kernel": "backbone.blocks.5.3.se.conv_expand.weight",
    "stage_5_block_3_project_conv/kernel": "backbone.blocks.5.3.conv_pwl.weight",
    "stage_5_block_3_project_bn/gamma": "backbone.blocks.5.3.bn3.weight",
    "bifpn_entry_6_conv/bias": "fpn.resample.3.conv.conv.bias",
    "bifpn_0_node_9_from_1_bn/gamma": "fpn.cell.0.fnode.4.combine.resample.1.conv.bn.weight",
    "bifpn_0_node_9_fusion/fusion_weights": "fpn.cell.0.fnode.4.combine.edge_weights",
    "bifpn_0_node_12_depthwise/kernel": "fpn.cell.0.fnode.7.after_combine.conv.conv_dw.weight",
    "bifpn_0_node_12_conv/bias": "fpn.cell.0.fnode.7.after_combine.conv.conv_pw.bias",
    "bifpn_0_node_12_bn/beta": "fpn.cell.0.fnode.7.after_combine.conv.bn.bias",
    "class_head_2_depthwise/kernel": "class_net.conv_rep.2.conv_dw.weight",
    "class_head_2_level_7_bn/beta": "class_net.bn_rep.2.4.bn.bias",
    "class_predictor_pointwise/bias": "class_net.predict.conv_pw.bias",
    "box_head_1_pointwise/kernel": "box_net.conv_rep.1.conv_pw.weight",
    "box_predictor_depthwise/kernel": "box_net.predict.conv_dw.weight",
}
AUTOML_PLACES = {
    "stem_conv/kernel": "efficientnet-b0/stem/conv2d/kernel",
    "stem_bn/moving_variance": "efficientnet-b0/stem/tpu_batch_normalization/moving_variance",
    "stage_0_block_0_bn/gamma": "efficientnet-b0/blocks_0/tpu_batch_normalization/gamma",
    "stage_0_block_0_project_conv/kernel": "efficientnet-b0/blocks_0/conv2d/kernel",
    "stage_0_block_0_project_bn/beta": "efficientnet-b0/blocks_0/tpu_batch_normalization_1/beta",
    "stage_5_block_3_expand_conv/kernel": "efficientnet-b0/blocks_14/conv2d/kernel",
    "stage_5_block_3_bn/gamma": "efficientnet-b0/blocks_14/tpu_batch_normalization_1/gamma",
    "stage_5_block_3_depthwise/kernel": (
        "efficientnet-b0/blocks_14/depthwise_conv2d/depthwise_kernel"
    ),
    "stage_5_block_3_se_reduce/bias": "efficientnet-b0/blocks_14/se/conv2d/bias",
    "stage_5_block_3_se_excite/kernel": "efficientnet-b0/blocks_14/se/conv2d_1/kernel",
    "stage_5_block_3_project_conv/kernel": "efficientnet-b0/blocks_14/conv2d_1/kernel",
    "bifpn_entry_6_conv/bias": "resample_p6/conv2d/bias",
    "bifpn_0_node_10_from_2_bn/gamma": "fpn_cells/cell_0/fnode5/resample_0_2_10/bn/gamma",
    "bifpn_0_node_12_depthwise/kernel": (
        "fpn_cells/cell_0/fnode7/op_after_combine12/conv/depthwise_kernel"
    ),
    "bifpn_0_node_12_conv/bias": "fpn_cells/cell_0/fnode7/op_after_combine12/conv/bias",
    "bifpn_0_node_12_bn/beta": "fpn_cells/cell_0/fnode7/op_after_combine12/bn/beta",
    "class_head_2_pointwise/kernel": "class_net/class-2/pointwise_kernel",
    "class_head_2_level_7_bn/beta": "class_net/class-2-bn-7/beta",
    "class_predictor_pointwise/bias": "class_net/class-predict/bias",
    "box_predictor_depthwise/kernel": "box_net/box-predict/depthwise_kernel",
}


@pytest.mark.parametrize(
    ("read", "source", "places"),
    [
        (import_effdet, effdet_state(), EFFDET_PLACES),
        (import_automl, automl_variables(), AUTOML_PLACES),
    ],
    ids=["effdet", "automl"],
)
def test_every_variable_of_an_efficientdet_has_its_place(
    blank: keras.Model, read: Callable[..., Any], source: Arrays, places: dict[str, str]
) -> None:
    report = read(source, blank)
    assert report.untouched == ()
    assert all(name.endswith("num_batches_tracked") for name in report.unused)
    assert len(report.used) + len(report.unused) == len(source)
    for path, name in places.items():
        assert value(blank, path) == [float(source[name].flat[0])], path


def test_fusion_weights_of_automl_are_single_numbers(blank: keras.Model) -> None:
    source = automl_variables()
    import_automl(source, blank)
    names = (f"fpn_cells/cell_0/fnode4/WSM{end}" for end in ("", "_1", "_2"))
    expected = [float(source[name]) for name in names]
    assert value(blank, "bifpn_0_node_9_fusion/fusion_weights") == expected


def test_the_moving_average_of_automl_is_preferred(blank: keras.Model) -> None:
    name = "box_net/box-predict/bias"
    average = f"{name}/ExponentialMovingAverage"
    source = automl_variables()
    source |= {average: np.full(36, 0.5), f"{name}/Momentum": np.zeros(36), "global_step": 7}
    report = import_automl(source, blank)
    assert value(blank, "box_predictor_pointwise/bias") == [0.5]
    assert average in report.used
    assert set(report.unused) == {name, f"{name}/Momentum", "global_step"}


@pytest.mark.parametrize("wrapper", ["model.", "module.", "module.model."])
def test_a_wrapped_state_of_effdet_is_unwrapped(blank: keras.Model, wrapper: str) -> None:
    source = effdet_state()
    import_effdet({wrapper + name: array for name, array in source.items()}, blank)
    expected = float(source["backbone.conv_stem.weight"].flat[0])
    assert value(blank, "stem_conv/kernel") == [expected]


@pytest.mark.parametrize(
    ("read", "source", "unused"),
    [
        (import_effdet, effdet_state(classes=20), "class_net.predict.conv_pw.weight"),
        (import_automl, automl_variables(classes=20), "class_net/class-predict/pointwise_kernel"),
    ],
    ids=["effdet", "automl"],
)
def test_another_number_of_classes_leaves_the_class_predictor(
    blank: keras.Model, read: Callable[..., Any], source: Arrays, unused: str
) -> None:
    report = read(source, blank)
    left = ("class_predictor_pointwise/kernel", "class_predictor_pointwise/bias")
    assert report.untouched == left
    assert unused in report.unused
    assert value(blank, left[1]) == [-1.0]
    assert value(blank, "box_predictor_pointwise/bias") != [-1.0]


@pytest.mark.parametrize(
    ("read", "source"),
    [(import_effdet, effdet_state()), (import_automl, automl_variables())],
    ids=["effdet", "automl"],
)
def test_the_backbone_alone_leaves_pyramid_and_heads(
    blank: keras.Model, read: Callable[..., Any], source: Arrays
) -> None:
    report = read(source, blank, backbone_only=True)
    assert all(path.startswith(("bifpn_", "class_", "box_")) for path in report.untouched)
    assert value(blank, "stage_6_block_0_project_conv/kernel") != [-1.0]
    assert value(blank, "bifpn_entry_6_conv/kernel") == [-1.0]
    assert value(blank, "box_predictor_pointwise/bias") == [-1.0]


@pytest.mark.parametrize(
    ("read", "source", "misfit", "said"),
    [
        (
            import_effdet,
            effdet_state(),
            {"backbone.conv_stem.weight": np.zeros((48, 3, 3, 3))},
            r"'backbone.conv_stem.weight' \(48, 3, 3, 3\).* stem_conv/kernel \(3, 3, 3, 32\)",
        ),
        (
            import_automl,
            automl_variables(),
            {"efficientnet-b0/stem/conv2d/kernel": np.zeros((3, 3, 3, 48))},
            r"stem/conv2d/kernel' \(3, 3, 3, 48\).* stem_conv/kernel \(3, 3, 3, 32\)",
        ),
        (import_effdet, effdet_state(stacks=2), {}, r"fpn\.cell\.1\.\S+', for which .* no layer"),
        (import_automl, automl_variables(stacks=2), {}, r"cell_1/\S+', for which .* no layer"),
        (import_effdet, {"fc.weight": np.zeros(3)}, {}, "holds no EfficientDet of effdet"),
        (import_automl, {"fc/kernel": np.zeros(3)}, {}, "holds no EfficientDet of google/automl"),
    ],
)
def test_weights_of_another_network_are_refused(
    blank: keras.Model, read: Callable[..., Any], source: Arrays, misfit: Arrays, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read({**source, **misfit}, blank)
    assert value(blank, "stem_conv/kernel") == [-1.0], "nothing is assigned"


def test_an_effdet_model_without_biases_is_refused(blank: keras.Model) -> None:
    source = {name: each for name, each in effdet_state().items() if "resample" not in name}
    with pytest.raises(InvalidInputError, match="begins with tf_efficientdet"):
        import_effdet(source, blank)


def write_safetensors(path: Path, arrays: dict[str, tuple[str, np.ndarray]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for name, (kind, array) in arrays.items():
        end = len(numbers) + array.nbytes
        shape = list(array.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(numbers), end]}
        numbers += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)


def test_safetensors_are_read(tmp_path: Path) -> None:
    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    halves = np.array([0x3F80, 0xC000], np.uint16)  # bfloat16 of 1 and -2
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, {"plain": ("F32", plain), "halves": ("BF16", halves)})
    arrays = read_effdet(path)
    np.testing.assert_array_equal(arrays["plain"], plain)
    np.testing.assert_array_equal(arrays["halves"], [1.0, -2.0])


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 40, (30).to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": [9]}}'],
)
def test_a_damaged_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"weights\.safetensors is no readable"):
        read_effdet(path)


def test_a_missing_file_is_named(tmp_path: Path, network: keras.Model) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.pth"):
        import_effdet(tmp_path / "gone.pth", network)
    with pytest.raises(MissingFileError, match=r"gone\.index is missing"):
        import_automl(tmp_path / "gone", network)


# Inputs of Mobile SpineNet's nodes 2 to 17, levels of all, widths of 49XS by level.
SPINE = (
    (0, 1), (1, 2), (1, 2), (3, 4), (3, 5), (4, 6), (4, 6), (7, 8),
    (7, 9), (9, 10), (9, 11), (6, 11), (5, 11), (8, 13), (6, 15), (13, 15),
)  # fmt: skip
SPINE_LEVELS = (1, 2, 2, 2, 4, 3, 4, 6, 4, 5, 7, 5, 5, 4, 3, 5, 7, 6)
SPINE_WIDTHS = (4, 9, 14, 24, 48, 67, 67, 67)


class KerasNames:
    """Names as Keras gives them out while a model of the Model Garden is constructed."""

    def __init__(self, first: int) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.first = first
        self.counts: dict[str, int] = {}

    def layer(self, kind: str, scope: str = "") -> str:
        # Other models before it may have used up the first numbers.
        number = self.counts.setdefault(scope + kind, 0 if scope else self.first)
        self.counts[scope + kind] += 1
        return f"{scope}{kind}_{number}" if number else scope + kind

    def conv(
        self, inputs: int, out: int, kernel: int = 1, scope: str = "", bias: bool = False
    ) -> None:
        name = self.layer("conv2d", scope)
        self.shapes[f"{name}/kernel:0"] = (kernel, kernel, inputs, out)
        if bias:
            self.shapes[f"{name}/bias:0"] = (out,)

    def depthwise(self, width: int, scope: str = "") -> None:
        name = self.layer("depthwise_conv2d", scope)
        self.shapes[f"{name}/depthwise_kernel:0"] = (3, 3, width, 1)

    def norm(self, width: int, scope: str = "", name: str = "") -> None:
        name = name or self.layer("sync_batch_normalization", scope)
        for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
            self.shapes[f"{name}/{variable}:0"] = (width,)

    def head(self, width: int, classes: int, separable: bool) -> None:
        def conv(name: str, out: int) -> None:
            if separable:
                self.shapes[f"{name}/depthwise_kernel:0"] = (3, 3, width, 1)
                self.shapes[f"{name}/pointwise_kernel:0"] = (1, 1, width, out)
            else:
                self.shapes[f"{name}/kernel:0"] = (3, 3, width, out)
            self.shapes[f"{name}/bias:0"] = (out,)

        scope = "retina_net_model/retina_net_head"
        for net, predictor, outputs in (("class", "scores", 9 * classes), ("box", "boxes", 36)):
            for layer in range(4):
                conv(f"{scope}/{net}net-conv_{layer}", width)
                for level in range(3, 8):
                    self.norm(width, name=f"{scope}/{net}net-conv-norm_{level}_{layer}")
            conv(f"{scope}/{predictor}", outputs)


def spinenet_variables(classes: int = CLASSES) -> Arrays:
    names = KerasNames(first=3)
    names.conv(3, SPINE_WIDTHS[0], 3)
    names.norm(SPINE_WIDTHS[0])
    for identity, level in enumerate(SPINE_LEVELS):
        out = SPINE_WIDTHS[level]
        before = SPINE_WIDTHS[identity] if identity < 2 else out
        for source in SPINE[identity - 2] if identity >= 2 else ():
            width = SPINE_WIDTHS[SPINE_LEVELS[source]]
            for _ in range(level - SPINE_LEVELS[source]):
                names.depthwise(width)
                names.norm(width)
            names.conv(width, out)
            names.norm(out)
        scope = names.layer("inverted_bottleneck_block") + "/"
        names.conv(before, 6 * before, scope=scope)
        names.norm(6 * before, scope)
        names.depthwise(6 * before, scope)
        names.norm(6 * before, scope)
        inner = f"{scope}squeeze_excitation/"
        names.counts[inner + "conv2d"] = 2
        names.conv(6 * before, max(1, int(0.2 * before)), scope=inner, bias=True)
        names.conv(max(1, int(0.2 * before)), 6 * before, scope=inner, bias=True)
        names.conv(6 * before, out, scope=scope)
        names.norm(out, scope)
    for level in range(3, 8):
        names.conv(SPINE_WIDTHS[level], 24)
        names.norm(24)
    names.head(24, classes, separable=True)
    return constants(names.shapes)


def nas_fpn_variables(classes: int = CLASSES) -> Arrays:
    names = KerasNames(first=0)
    names.conv(3, 64, 7)
    names.norm(64)
    before = 64
    for stage, repeats in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for repeat in range(repeats):
            scope = names.layer("bottleneck_block") + "/"
            shortcut = [(before, 4 * width, 1)] if repeat == 0 else []
            for inputs, out, kernel in (
                *shortcut,
                (before, width, 1),
                (width, width, 3),
                (width, 4 * width, 1),
            ):
                names.conv(inputs, out, kernel, scope)
                names.norm(out, scope)
            before = 4 * width
    for inputs, kernel in ((512, 1), (1024, 1), (2048, 1), *[(WIDTH, 3)] * 7):
        names.conv(inputs, WIDTH, kernel, bias=True)
        names.norm(WIDTH)
    names.head(WIDTH, classes, separable=False)
    return constants(names.shapes)


@pytest.fixture(scope="module")
def spinenet() -> keras.Model:
    return build("spinenet-mobile-49xs", num_classes=CLASSES, size=128)


@pytest.fixture(scope="module")
def nas_fpn() -> keras.Model:
    return build("retinanet-resnet50-nasfpn", num_classes=CLASSES, size=128, width=WIDTH, stacks=1)


HEAD = "retina_net_model/retina_net_head"
SPINENET_PLACES = {
    "stem_conv/kernel": "conv2d_3/kernel:0",
    "node_1_block0_expand_conv/kernel": "inverted_bottleneck_block_4/conv2d/kernel:0",
    "node_1_block0_se_reduce/bias": (
        "inverted_bottleneck_block_4/squeeze_excitation/conv2d_2/bias:0"
    ),
    "node_17_block0_project_bn/beta": (
        "inverted_bottleneck_block_20/sync_batch_normalization_2/beta:0"
    ),
    # The first resampling down is from id 0 to id 2, then come 1 to 4 and 2 to 4, two steps each.
    "node_2_from_0_down0_depthwise/kernel": "depthwise_conv2d_3/depthwise_kernel:0",
    "node_2_from_0_down0_bn/gamma": "sync_batch_normalization_4/gamma:0",
    "node_2_from_0_bn/gamma": "sync_batch_normalization_5/gamma:0",
    "node_4_from_2_down1_depthwise/kernel": "depthwise_conv2d_7/depthwise_kernel:0",
    "node_3_from_2_conv/kernel": "conv2d_7/kernel:0",
    "endpoint_7_conv/kernel": "conv2d_40/kernel:0",
    "class_head_2_depthwise/kernel": f"{HEAD}/classnet-conv_2/depthwise_kernel:0",
    "box_head_3_level_5_bn/moving_mean": f"{HEAD}/boxnet-conv-norm_5_3/moving_mean:0",
    "box_predictor_pointwise/bias": f"{HEAD}/boxes/bias:0",
}
NAS_FPN_PLACES = {
    "stem_bn/gamma": "sync_batch_normalization/gamma:0",
    "stage_1_block_0_shortcut_conv/kernel": "bottleneck_block_3/conv2d/kernel:0",
    "stage_1_block_0_expand_conv/kernel": "bottleneck_block_3/conv2d_3/kernel:0",
    "stage_3_block_2_middle_conv/kernel": "bottleneck_block_15/conv2d_1/kernel:0",
    "nas_fpn_entry_3_conv/bias": "conv2d_1/bias:0",
    "nas_fpn_entry_5_bn/beta": "sync_batch_normalization_3/beta:0",
    "nas_fpn_0_node_5_conv/kernel": "conv2d_4/kernel:0",
    "nas_fpn_0_node_11_bn/moving_variance": "sync_batch_normalization_10/moving_variance:0",
    "class_predictor_conv/bias": f"{HEAD}/scores/bias:0",
    "box_head_1_conv/kernel": f"{HEAD}/boxnet-conv_1/kernel:0",
}


@pytest.mark.parametrize(
    ("name", "source", "places"),
    [
        ("spinenet", spinenet_variables, SPINENET_PLACES),
        ("nas_fpn", nas_fpn_variables, NAS_FPN_PLACES),
    ],
)
def test_every_variable_of_the_model_garden_has_its_place(
    request: pytest.FixtureRequest,
    name: str,
    source: Callable[..., Arrays],
    places: dict[str, str],
) -> None:
    network = request.getfixturevalue(name)
    arrays = source()
    report = import_model_garden(arrays, network)
    assert report.untouched == report.unused == ()
    assert len(report.used) == len(arrays)
    for path, theirs in places.items():
        assert value(network, path) == [float(arrays[theirs].flat[0])], path
    left = import_model_garden(source(classes=20), network).untouched
    assert {path.split("/")[0] for path in left} == {
        "class_predictor_pointwise" if name == "spinenet" else "class_predictor_conv"
    }


def test_the_backbone_of_the_model_garden_comes_alone(nas_fpn: keras.Model) -> None:
    report = import_model_garden(nas_fpn_variables(), nas_fpn, backbone_only=True)
    assert all(path.startswith(("nas_fpn_", "class_", "box_")) for path in report.untouched)
    assert any(path.startswith("nas_fpn_entry_3_conv") for path in report.untouched)


def test_networks_that_the_model_garden_lacks_are_refused(
    network: keras.Model, spinenet: keras.Model
) -> None:
    with pytest.raises(InvalidInputError, match="none that the Model Garden has"):
        import_model_garden(spinenet_variables(), network)
    with pytest.raises(InvalidInputError, match=r"doesn't fit|has no"):
        import_model_garden(nas_fpn_variables(), spinenet)
    with pytest.raises(InvalidInputError, match="holds no detector of the Model Garden"):
        import_model_garden({"conv2d/kernel:0": np.zeros((3, 3, 3, 8))}, spinenet)


def test_checkpoints_of_graphs_and_of_objects_are_read(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    prefix = str(tmp_path / "graph")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=["box_net/box-predict/bias", "global_step"],
        shape_and_slices=["", ""],
        tensors=[tf.fill([36], 2.0), tf.constant(7, tf.int64)],
    )
    graph = read_checkpoint(f"{prefix}.index")
    assert list(graph.arrays) == ["box_net/box-predict/bias"]
    assert graph.names == {}

    module = tf.Module()
    module.weight = tf.Variable([1.0, 2.0], name="conv2d_4/kernel")
    tf.train.Checkpoint(model=module, optimizer=tf.Module()).write(str(tmp_path / "objects"))
    np.testing.assert_array_equal(
        read_model_garden(tmp_path / "objects")["conv2d_4/kernel"], [1, 2]
    )
    with pytest.raises(InvalidInputError, match="no checkpoint of a model of the Model Garden"):
        read_model_garden(prefix)


def test_averages_that_an_optimizer_kept_are_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    key, slot = "model/_backbone/layer_with_weights-0/kernel", ".OPTIMIZER_SLOT/optimizer"
    checkpoint = Checkpoint(
        {
            key: np.full(3, 1.0),
            f"{key}/{slot}/average": np.full(3, 2.0),
            f"{key}/{slot}/ema_base_optimizer/momentum": np.full(3, 3.0),
        },
        {
            key: "conv2d/kernel",
            f"{key}/{slot}/average": "conv2d/kernel/average",
            f"{key}/{slot}/ema_base_optimizer/momentum": "SGD/conv2d/kernel/momentum",
        },
    )
    monkeypatch.setattr(model_garden, "read_checkpoint", lambda path: checkpoint)
    arrays = read_model_garden("model")
    assert list(arrays) == ["conv2d/kernel"]
    np.testing.assert_array_equal(arrays["conv2d/kernel"], [2.0, 2.0, 2.0])


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    (tmp_path / "model.index").write_bytes(b"not an index" * 20)
    with pytest.raises(InvalidInputError, match="model is no readable TensorFlow checkpoint"):
        read_checkpoint(tmp_path / "model")


def test_published_detectors_count_cocos_ids_with_their_gaps() -> None:
    labels, ids = published_labels(90)
    assert ids == tuple(range(1, 91))
    named = dict(zip(ids, labels, strict=True))
    assert (named[1], named[12], named[13]) == ("person", "unused 12", "stop sign")
    assert (named[77], named[84], named[90]) == ("cell phone", "book", "toothbrush")
    assert sum(label.startswith("unused") for label in labels) == 10
    assert published_labels(91)[1] == tuple(range(91))
    assert published_labels(91)[0][1:] == labels
    assert published_labels(80)[1] == tuple(COCO)
    assert published_labels(2) == (("class 1", "class 2"), (1, 2))


@pytest.fixture(scope="module")
def effdet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("effdet") / "d0.safetensors"
    write_safetensors(path, {name: ("F32", array) for name, array in effdet_state().items()})
    return path


COMMAND = ("--from", "effdet", "--model", "efficientdet-d0-1@8", "--imgsz", 128)


def test_the_command_writes_a_model_and_says_what_it_used(
    effdet_file: Path, tmp_path: Path, edgedet: Command
) -> None:
    out = tmp_path / "d0.keras"
    done = edgedet("import", effdet_file, *COMMAND, "--out", out, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["labels"] == ["class 1", "class 2", "class 3"]
    assert report["untouched"] == []
    assert len(report["used"]) + len(report["unused"]) == len(effdet_state())
    network, spec = load_model(out)
    assert spec.name == "efficientdet-d0"
    assert spec.provenance["imported"] == {"from": "effdet", "file": "d0.safetensors"}
    expected = float(effdet_state()["box_net.predict.conv_pw.bias"].flat[0])
    assert value(network, "box_predictor_pointwise/bias") == [expected]


def test_the_command_takes_labels_and_names_what_they_leave_at_its_start(
    effdet_file: Path, tmp_path: Path, edgedet: Command
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n\n", encoding="utf-8")
    out = tmp_path / "pets.keras"
    done = edgedet("import", effdet_file, *COMMAND, "--out", out, "--labels", labels)
    assert done.code == 0
    assert "at a fresh start: 2: class_predictor_pointwise/kernel, class_pred" in done.out
    assert "next: edgedet train --model efficientdet-d0-1@8 --weights" in done.out
    assert archive.read_spec(out).labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--from", "darknet", "--model", "efficientdet-d0", "--out", "a.keras"),
            "no origin 'dark",
        ),
        ((*COMMAND, "--out", "a.h5"), "a.h5 must end in .keras"),
        ((*COMMAND, "--out", "a.keras", "--labels", "gone.txt"), "no file gone.txt"),
        (("--from", "effdet", "--model", "efficientdet-d9", "--out", "a.keras"), "did you mean"),
        (("--from", "automl", "--model", "efficientdet-d0", "--out", "a.keras"), ".index is miss"),
        (
            ("--from", "effdet", "--model", "mobilenetv2-nasfpnlite", "--out", "a.keras"),
            "no Effici",
        ),
    ],
)
def test_the_command_refuses_bad_input_in_one_sentence(
    effdet_file: Path,
    tmp_path: Path,
    edgedet: Command,
    words: tuple[object, ...],
    said: str,
) -> None:
    done = edgedet("import", effdet_file, *words)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("origin", ["effdet", "keras-applications"])
def test_a_directory_is_not_taken_for_a_file(tmp_path: Path, edgedet: Command, origin: str) -> None:
    words = ("--from", origin, *COMMAND[2:], "--out", "a.keras")
    done = edgedet("import", tmp_path, *words)
    assert done.code == 2
    assert done.err == f"error: {tmp_path} is a directory; name the file of weights within it.\n"


def test_a_directory_is_not_taken_for_labels(
    effdet_file: Path, tmp_path: Path, edgedet: Command
) -> None:
    done = edgedet("import", effdet_file, *COMMAND, "--out", "a.keras", "--labels", tmp_path)
    assert done.code == 2
    assert (
        done.err == f"error: {tmp_path} is a directory; name the text file of labels within it.\n"
    )


def test_an_input_beyond_all_bounds_is_refused_by_its_size(
    effdet_file: Path, edgedet: Command
) -> None:
    words = (*COMMAND[:-1], 128000, "--out", "a.keras")
    done = edgedet("import", effdet_file, *words)
    assert done.code == 2
    assert "error: An input of 128000 x 128000 pixels is larger than any model" in done.err
