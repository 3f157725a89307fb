"""Weights of google/automl's EfficientDet: TensorFlow checkpoints of D0 to D7x and Lite."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from edgedet.errors import InvalidInputError
from edgedet.models.importers.efficientdet_names import Place, Places
from edgedet.models.importers.tensorflow_checkpoint import read_checkpoint
from edgedet.models.importers.transfer import TransferReport, link, opened, refuse_left, transfer

_AVERAGE = "/ExponentialMovingAverage"
_STEM = {"conv": "conv2d", "bn": "tpu_batch_normalization"}
# Names are given in the order of construction; a block of the first stage has no expansion.
_FIRST_STAGE = {
    "depthwise": "depthwise_conv2d",
    "bn": "tpu_batch_normalization",
    "se_reduce": "se/conv2d",
    "se_excite": "se/conv2d_1",
    "project_conv": "conv2d",
    "project_bn": "tpu_batch_normalization_1",
}
_STAGES = {
    "expand_conv": "conv2d",
    "expand_bn": "tpu_batch_normalization",
    "depthwise": "depthwise_conv2d",
    "bn": "tpu_batch_normalization_1",
    "se_reduce": "se/conv2d",
    "se_excite": "se/conv2d_1",
    "project_conv": "conv2d_1",
    "project_bn": "tpu_batch_normalization_2",
}
_NODE = {"depthwise": "conv", "conv": "conv", "bn": "bn"}
_RESAMPLE = {"conv": "conv2d", "bn": "bn"}
_TEMPLATES = {
    "stem": "{backbone}/stem/{part}",
    "block": "{backbone}/blocks_{overall}/{part}",
    "entry": "resample_p{level}/{part}",
    "edge": "fpn_cells/cell_{stack}/fnode{fnode}/resample_{input}_{source}_{node}/{part}",
    "fusion": "fpn_cells/cell_{stack}/fnode{fnode}/WSM",
    "node": "fpn_cells/cell_{stack}/fnode{fnode}/op_after_combine{node}/{part}",
    "head_bn": "{head}_net/{head}-{layer}-bn-{level}",
    "head": "{head}_net/{head}-{layer}",
    "predictor": "{head}_net/{head}-predict",
}
_PARTS = ("fpn_cells/", "resample_p", "class_net/", "box_net/")
_CLASS_BIAS = "class_net/class-predict/bias"
_BACKBONE = re.compile(r"(efficientnet-\w+)/stem/conv2d/kernel")
# Ends of the names of a network's variables; optimizers' and counters' have others.
_VARIABLE = re.compile(
    r".*/(?:(?:depthwise_|pointwise_)?kernel|bias|gamma|beta|moving_(?:mean|variance)|WSM(?:_\d)?)"
)


def import_automl(
    source: str | os.PathLike[str] | Mapping[str, Any],
    network: keras.Model,
    *,
    backbone_only: bool = False,
    origin: str | None = None,
) -> TransferReport:
    """Bring the weights of a google/automl EfficientDet into the one of the same size.

    Variables that the source has a moving average of (`.../ExponentialMovingAverage`) get that.
    A class predictor for another number of classes is left at its start; the report names it.

    Args:
        source: a checkpoint of TensorFlow, version 1 or 2 (see `read_checkpoint`); or arrays by
            the names of the variables.
        network: its weights are overwritten.
        backbone_only: take the EfficientNet alone, from a checkpoint of a detector or of a
            classifier; the network is any on that backbone.
        origin: what messages call the source; the file by default.

    Raises:
        MissingFileError: there is no such checkpoint.
        MissingDependencyError: TensorFlow is not installed.
        InvalidInputError: a damaged or foreign file, or weights of another architecture; the
            network is as before.
    """
    arrays, origin = opened(source, read, origin)
    stem = next((match for match in map(_BACKBONE.fullmatch, arrays) if match), None)
    if stem is None:
        raise InvalidInputError(f"{origin} holds no EfficientDet of google/automl.")
    backbone = stem[1]
    places = Places(network, backbone_only=backbone_only)

    def averaged(name: str) -> str:
        return name + _AVERAGE if name + _AVERAGE in arrays else name

    def source_names(path: str) -> list[str]:
        return [averaged(name) for name in _names(places.find(path), backbone)]

    links = link(
        network, lambda path: source_names(path) or None, optional=places.depends_on_classes
    )
    linked = {name.removesuffix(_AVERAGE) for each in links for name in each.sources}
    parts = (f"{backbone}/", *(() if backbone_only else _PARTS))
    plain = (name.removesuffix(_AVERAGE) for name in arrays if name.startswith(parts))
    top = f"{backbone}/head/"  # a classifier's, which detectors of this source have not
    refuse_left(
        (name for name in plain if _VARIABLE.fullmatch(name) and not name.startswith(top)),
        linked,
        origin,
        network,
    )
    return transfer(arrays, links, origin=origin)


def class_outputs(arrays: Mapping[str, Any]) -> int | None:
    """Outputs of the class predictor per place, anchors times classes; None without one."""
    bias = arrays.get(_CLASS_BIAS)
    return None if bias is None else int(np.size(bias))


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint by the names of the variables (see `read_checkpoint`)."""
    checkpoint = read_checkpoint(path)
    return {checkpoint.names.get(key, key): array for key, array in checkpoint.arrays.items()}


def _names(place: Place | None, backbone: str) -> list[str]:
    """A variable's name there, or the names of its parts; none if it has none."""
    if place is None:
        return []
    part = place.names.get("part", "")
    variable = place.variable
    separable = place.kind in ("node", "head", "predictor")
    if variable == "kernel" and part == "depthwise":
        variable = "depthwise_kernel"
    elif variable == "kernel" and separable:
        variable = "pointwise_kernel"
    if place.kind == "block":
        parts = _STAGES if place.numbers["stage"] else _FIRST_STAGE
        if part not in parts:
            return []
        part = parts[part]
    else:
        tables = {"stem": _STEM, "entry": _RESAMPLE, "edge": _RESAMPLE, "node": _NODE}
        part = tables.get(place.kind, {}).get(part, part)
    names = {**place.names, **place.numbers, "part": part, "backbone": backbone}
    name = _TEMPLATES[place.kind].format(**names)
    if place.kind == "fusion":
        # One number for each input.
        return [name if index == 0 else f"{name}_{index}" for index in range(len(place.inputs))]
    return [f"{name}/{variable}"]
