"""Weights of the TensorFlow Model Garden: Mobile SpineNets and RetinaNet with ResNet and NAS-FPN.

Keras numbered their layers by class, within the layer around them, in the order of construction:
`conv2d`, `conv2d_1`, `bottleneck_block_3/batch_normalization_2`. A network's layers of one class
are therefore matched by their rank in that order, and checked by their shapes; the heads' layers
have names.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from edgedet.errors import InvalidInputError
from edgedet.models import eff_spinenet
from edgedet.models.importers.tensorflow_checkpoint import read_checkpoint
from edgedet.models.importers.transfer import TransferReport, link, opened, refuse_left, transfer

_CONV, _DEPTHWISE, _NORM = "conv2d", "depthwise_conv2d", "batch_normalization"
# What a block builds, in this order.
_MBCONV = (
    ("expand_conv", _CONV),
    ("expand_bn", _NORM),
    ("depthwise", _DEPTHWISE),
    ("bn", _NORM),
    ("project_conv", _CONV),
    ("project_bn", _NORM),
)
_SQUEEZE_EXCITE = {
    "se_reduce": "squeeze_excitation#0/conv2d#0",
    "se_excite": "squeeze_excitation#0/conv2d#1",
}
_BOTTLENECK = ("shortcut", "reduce", "middle", "expand")
_HEADS = {"class": ("classnet", "scores"), "box": ("boxnet", "boxes")}

_NODE = re.compile(r"node_(\d+)_block(\d+)_.*")
_STAGE = re.compile(r"stage_(\d+)_block_(\d+)_.*")
_HEAD = re.compile(r"(class|box)_head_(\d+)_(depthwise|pointwise|conv)")
_HEAD_NORM = re.compile(r"(class|box)_head_(\d+)(?:_stack_\d+)?_level_(\d+)_bn")
_PREDICTOR = re.compile(r"(class|box)_predictor_(depthwise|pointwise|conv)")
_PYRAMID = re.compile(r"nas_fpn_(?:entry_(\d+)|(\d+)_node_(\d+))_conv")

_NUMBERED = re.compile(r"(?:sync_)?(.*?)(?:_(\d+))?")
_NETWORK = re.compile(r"[^/]*/?retina_net_head(?:_\d+)?/")
_BACKBONE = (_CONV, _DEPTHWISE, _NORM, "inverted_bottleneck_block", "bottleneck_block")
_NAMED = ("classnet-", "boxnet-", "scores/", "boxes/")

_AVERAGE = "/.OPTIMIZER_SLOT/optimizer/average"


def import_model_garden(
    source: str | os.PathLike[str] | Mapping[str, Any],
    network: keras.Model,
    *,
    backbone_only: bool = False,
    origin: str | None = None,
) -> TransferReport:
    """Bring the weights of a Model Garden detector into our network of the same architecture.

    That is `spinenet-mobile-49`, `-49s`, `-49xs` or `retinanet-resnet50-nasfpn`. A class predictor
    for another number of classes is left at its start; the report names it.

    Args:
        source: a checkpoint of TensorFlow 2 (see `read_checkpoint`); or arrays by the names of
            the variables, as a model's own `variables` have them.
        network: its weights are overwritten.
        backbone_only: leave pyramid and heads.
        origin: what messages call the source; the file by default.

    Raises:
        MissingFileError: there is no such checkpoint.
        MissingDependencyError: TensorFlow is not installed.
        InvalidInputError: a damaged or foreign file, or weights of another architecture; the
            network is as before.
    """
    arrays, origin = opened(source, read, origin)
    found = _ranked(arrays, origin)
    if not any(
        name.startswith(("inverted_bottleneck_block", "bottleneck_block")) for name in found
    ):
        raise InvalidInputError(
            f"{origin} holds no detector of the Model Garden on such a backbone."
        )
    places = dict(_places(network))
    if not places:
        raise InvalidInputError(
            f"The network {network.name} is none that the Model Garden has; choose a Mobile "
            "SpineNet or the RetinaNet with ResNet-50 and NAS-FPN."
        )
    if backbone_only:
        places = {layer: place for layer, place in places.items() if not _after_backbone(layer)}

    def source_name(path: str) -> str | None:
        layer, _, variable = path.partition("/")
        if layer not in places:
            return None
        place = places[layer]
        if variable == "kernel" and layer.endswith("_depthwise"):
            variable = "depthwise_kernel"
        elif variable == "kernel" and layer.endswith("_pointwise"):
            variable = "pointwise_kernel"
        name = f"{place}/{variable}"
        return found.get(name, name)

    links = link(network, source_name, optional=_depends_on_classes)
    kept = ("inverted_", "bottleneck_") if backbone_only else (*_BACKBONE, *_NAMED)
    linked = {name for each in links for name in each.sources}
    wanted = (actual for name, actual in found.items() if name.startswith(kept))
    refuse_left(wanted, linked, origin, network)
    return transfer(arrays, links, origin=origin)


def class_outputs(arrays: Mapping[str, Any]) -> int | None:
    """Outputs of the class predictor per place, anchors times classes; None without one."""
    for name, array in arrays.items():
        if name.split(":")[0].endswith("/scores/bias"):
            return int(np.size(array))
    return None


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint by the names of the variables (see `read_checkpoint`).

    Averages that the optimizer kept of them are preferred; its other variables are left out.

    Raises:
        MissingFileError: there is no such checkpoint.
        MissingDependencyError: TensorFlow is not installed.
        InvalidInputError: a damaged file, or one that doesn't say its variables' names.
    """
    checkpoint = read_checkpoint(path)
    arrays: dict[str, np.ndarray] = {}
    for key, name in checkpoint.names.items():
        if key not in checkpoint.arrays or ".OPTIMIZER_SLOT" in key or key.startswith("optimizer"):
            continue
        if name in arrays:
            raise InvalidInputError(
                f"{path} has two variables called {name!r}; save one model alone."
            )
        arrays[name] = checkpoint.arrays.get(key + _AVERAGE, checkpoint.arrays[key])
    if not arrays:
        raise InvalidInputError(f"{path} is no checkpoint of a model of the Model Garden.")
    return arrays


def _ranked(arrays: Mapping[str, Any], origin: str) -> dict[str, str]:
    """The source's names by names in which a rank stands in place of Keras's numbers."""
    layers: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    split: dict[str, list[str]] = {}
    for name in arrays:
        parts = _NETWORK.sub("", name.split(":")[0]).split("/")
        split[name] = parts
        for depth in range(len(parts) - 1):
            base, number = _numbered(parts[depth])
            layers["/".join(parts[:depth])][base].add(number)
    found: dict[str, str] = {}
    for name, parts in split.items():
        ranked = []
        for depth, part in enumerate(parts[:-1]):
            base, number = _numbered(part)
            if part.startswith(_NAMED) or f"{part}/" in _NAMED:
                ranked.append(part)
            else:
                rank = sorted(layers["/".join(parts[:depth])][base]).index(number)
                ranked.append(f"{base}#{rank}")
        found["/".join([*ranked, parts[-1]])] = name
    return found


def _numbered(part: str) -> tuple[str, int]:
    match = _NUMBERED.fullmatch(part)
    assert match is not None
    return match[1], int(match[2] or 0)


def _places(network: keras.Model) -> Iterator[tuple[str, str]]:
    """Our layers with weights, and the ranked names of theirs."""
    names = [layer.name for layer in network.layers if layer.weights]
    if "endpoint_3_conv" in names and "node_0_block0_expand_conv" in names:
        yield from _spinenet_places(names)
    elif "nas_fpn_0_node_5_conv" in names and "stage_0_block_0_middle_conv" in names:
        yield from _nas_fpn_places(names)
    else:
        return
    for name in names:
        if match := _HEAD.fullmatch(name):
            yield name, f"{_HEADS[match[1]][0]}-conv_{match[2]}"
        elif match := _HEAD_NORM.fullmatch(name):
            yield name, f"{_HEADS[match[1]][0]}-conv-norm_{match[3]}_{match[2]}"
        elif match := _PREDICTOR.fullmatch(name):
            yield name, _HEADS[match[1]][1]


def _spinenet_places(names: list[str]) -> Iterator[tuple[str, str]]:
    top = ["stem_conv", "stem_bn"]
    for identity, node in enumerate(eff_spinenet.NODES, start=2):
        for source in node.inputs:
            edge = f"node_{identity}_from_{source}"
            for step in range(7):
                top += [f"{edge}_down{step}_depthwise", f"{edge}_down{step}_bn"]
            top += [f"{edge}_conv", f"{edge}_bn"]
    top += [f"endpoint_{level}_{part}" for level in range(3, 8) for part in ("conv", "bn")]
    yield from _in_order([name for name in top if name in names])
    found = (_NODE.fullmatch(name) for name in names)
    blocks = dict.fromkeys((int(match[1]), int(match[2])) for match in found if match)
    for rank, (identity, repeat) in enumerate(sorted(blocks)):
        block = f"node_{identity}_block{repeat}"
        theirs = f"inverted_bottleneck_block#{rank}"
        ranks = dict.fromkeys((_CONV, _NORM, _DEPTHWISE), 0)
        for part, kind in _MBCONV:
            yield f"{block}_{part}", f"{theirs}/{kind}#{ranks[kind]}"
            ranks[kind] += 1
        for part, place in _SQUEEZE_EXCITE.items():
            yield f"{block}_{part}", f"{theirs}/{place}"


def _nas_fpn_places(names: list[str]) -> Iterator[tuple[str, str]]:
    pyramid = [match for match in map(_PYRAMID.fullmatch, names) if match]
    # The backbone's maps are projected before the first stack is built.
    pyramid.sort(key=lambda match: tuple(int(group or -1) for group in match.group(2, 3, 1)))
    convolutions = ["stem_conv", *(match[0] for match in pyramid)]
    norms = [f"{name.removesuffix('conv')}bn" for name in convolutions]
    yield from _in_order([*convolutions, *norms])
    found = (_STAGE.fullmatch(name) for name in names)
    blocks = dict.fromkeys((int(match[1]), int(match[2])) for match in found if match)
    for rank, (stage, block) in enumerate(sorted(blocks)):
        ours = f"stage_{stage}_block_{block}"
        parts = [part for part in _BOTTLENECK if f"{ours}_{part}_conv" in names]
        for place, part in enumerate(parts):
            yield f"{ours}_{part}_conv", f"bottleneck_block#{rank}/{_CONV}#{place}"
            yield f"{ours}_{part}_bn", f"bottleneck_block#{rank}/{_NORM}#{place}"


def _in_order(layers: list[str]) -> Iterator[tuple[str, str]]:
    """Our layers, in the order of construction, and theirs: each class is counted by itself."""
    kinds = {"conv": _CONV, "depthwise": _DEPTHWISE, "bn": _NORM}
    ranks = dict.fromkeys(kinds.values(), 0)
    for layer in layers:
        kind = kinds[layer.rpartition("_")[2]]
        yield layer, f"{kind}#{ranks[kind]}"
        ranks[kind] += 1


def _after_backbone(layer: str) -> bool:
    return layer.startswith(("nas_fpn_", "class_", "box_"))


def _depends_on_classes(path: str) -> bool:
    return path.startswith(("class_predictor_pointwise/", "class_predictor_conv/"))
