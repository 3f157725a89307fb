"""Weights of effdet, the PyTorch EfficientDets with names that begin with `tf_efficientdet`."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgedet.errors import InvalidInputError, MissingDependencyError, MissingFileError
from edgedet.models.importers.efficientdet_names import Place, Places
from edgedet.models.importers.transfer import (
    TransferReport,
    link,
    opened,
    pytorch_layout,
    refuse_directory,
    refuse_left,
    transfer,
)

_STEM = {"conv": "conv_stem", "bn": "bn1"}
# A block of the first stage has no expansion: what follows is counted from there.
_FIRST_STAGE = {
    "depthwise": "conv_dw",
    "bn": "bn1",
    "se_reduce": "se.conv_reduce",
    "se_excite": "se.conv_expand",
    "project_conv": "conv_pw",
    "project_bn": "bn2",
}
_STAGES = {
    "expand_conv": "conv_pw",
    "expand_bn": "bn1",
    "depthwise": "conv_dw",
    "bn": "bn2",
    "se_reduce": "se.conv_reduce",
    "se_excite": "se.conv_expand",
    "project_conv": "conv_pwl",
    "project_bn": "bn3",
}
_SEPARABLE = {"depthwise": "conv_dw", "conv": "conv_pw", "pointwise": "conv_pw", "bn": "bn"}
_TEMPLATES = {
    "stem": "backbone.{part}",
    "block": "backbone.blocks.{stage}.{block}.{part}",
    "entry": "fpn.resample.{index}.conv.{part}",
    "edge": "fpn.cell.{stack}.fnode.{fnode}.combine.resample.{source}.conv.{part}",
    "fusion": "fpn.cell.{stack}.fnode.{fnode}.combine.edge_weights",
    "node": "fpn.cell.{stack}.fnode.{fnode}.after_combine.conv.{part}",
    "head_bn": "{head}_net.bn_rep.{layer}.{index}.bn",
    "head": "{head}_net.conv_rep.{layer}.{part}",
    "predictor": "{head}_net.predict.{part}",
}
_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_FINEST = 3
_PARTS = ("backbone.", "fpn.", "class_net.", "box_net.")
_COUNTER = ".num_batches_tracked"
_CLASS_BIAS = "class_net.predict.conv_pw.bias"
# A training's file has the network within a bench, that within a wrapper for several devices.
_WRAPPERS = re.compile(r"^(?:module\.|model\.)+")
_STATES = ("state_dict_ema", "state_dict", "model_state_dict", "model")

# D7x takes 310 MB; a compressed file could claim any size.
_MAX_BYTES = 2**31
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}


def import_effdet(
    source: str | os.PathLike[str] | Mapping[str, Any],
    network: keras.Model,
    *,
    backbone_only: bool = False,
    origin: str | None = None,
) -> TransferReport:
    """Bring the weights of an effdet model into the EfficientDet of the same size.

    Its models `tf_efficientdet_d0` to `_d7x` and `tf_efficientdet_lite0` to `_lite4` compute what
    ours do. The others pad convolutions and normalize otherwise and lack biases: they are refused.

    A class predictor for another number of classes is left at its start; the report names it.

    Args:
        source: a `.safetensors` file, or a `.pth` file of a state_dict or of a training, whose
            moving average is preferred; or arrays by name.
        network: its weights are overwritten.
        backbone_only: take the EfficientNet alone; the network is any on that backbone.
        origin: what messages call the source; the file by default.

    Raises:
        MissingFileError: there is no such file.
        MissingDependencyError: a `.pth` file needs PyTorch to be read.
        InvalidInputError: a damaged or foreign file, or weights of another architecture; the
            network is as before.
    """
    arrays, origin = opened(source, read, origin)
    arrays = unwrapped(arrays)
    if "backbone.conv_stem.weight" not in arrays:
        raise InvalidInputError(f"{origin} holds no EfficientDet of effdet.")
    if not backbone_only and "fpn.resample.3.conv.conv.bias" not in arrays:
        raise InvalidInputError(
            f"{origin} holds an EfficientDet without biases, which pads otherwise than ours; "
            "choose the weights of a model whose name begins with tf_efficientdet."
        )
    places = Places(network, backbone_only=backbone_only)
    links = link(
        network,
        lambda path: _name(places.find(path)),
        layout=pytorch_layout,
        optional=places.depends_on_classes,
    )
    linked = {name for each in links for name in each.sources}
    parts = _PARTS[:1] if backbone_only else _PARTS
    refuse_left(
        (name for name in arrays if name.startswith(parts) and not name.endswith(_COUNTER)),
        linked,
        origin,
        network,
    )
    return transfer(arrays, links, origin=origin)


def _name(place: Place | None) -> str | None:
    if place is None:
        return None
    if place.kind == "fusion":
        return _TEMPLATES["fusion"].format(**place.numbers)
    part = place.names.get("part", "")
    if place.kind == "stem":
        part = _STEM[part]
    elif place.kind == "block":
        parts = _STAGES if place.numbers["stage"] else _FIRST_STAGE
        if part not in parts:
            return None
        part = parts[part]
    elif place.kind in ("node", "head", "predictor"):
        part = _SEPARABLE[part]
    index = place.numbers.get("level", _FINEST) - _FINEST
    names = {**place.names, **place.numbers, "part": part, "index": index}
    return f"{_TEMPLATES[place.kind].format(**names)}.{_VARIABLES[place.variable]}"


def class_outputs(arrays: Mapping[str, Any]) -> int | None:
    """Outputs of the class predictor per place, anchors times classes; None without one."""
    bias = unwrapped(arrays).get(_CLASS_BIAS)
    return None if bias is None else int(np.size(bias))


def unwrapped(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays by their names in the network itself."""
    return {_WRAPPERS.sub("", name): array for name, array in arrays.items()}


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array of a `.safetensors` or `.pth` file, by name.

    Raises:
        MissingFileError: there is no such file.
        MissingDependencyError: a `.pth` file needs PyTorch to be read.
        InvalidInputError: a directory, a damaged file, or one of something else than arrays.
    """
    place = Path(path)
    refuse_directory(place)
    if not place.is_file():
        raise MissingFileError(f"There is no file {place}.")
    if place.stat().st_size > _MAX_BYTES:
        raise InvalidInputError(f"{place} holds more than {_MAX_BYTES} bytes.")
    return _read_safetensors(place) if place.suffix == ".safetensors" else _read_torch(place)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The format: length of a JSON header (8 bytes, little endian), the header, the numbers."""
    content = path.read_bytes()
    try:
        (length,) = np.frombuffer(content[:8], "<u8")
        header = json.loads(content[8 : 8 + int(length)])
        numbers = memoryview(content)[8 + int(length) :]
        arrays = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            kind = _TYPES[entry["dtype"]]
            array = np.frombuffer(numbers[begin:end], kind).reshape(entry["shape"])
            if entry["dtype"] == "BF16":
                # The upper half of a float32.
                array = (array.astype("<u4") << 16).view("<f4")
            arrays[name] = array
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InvalidInputError(f"{path} is no readable safetensors file; get it again.") from None
    return arrays


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f"Reading {path} needs PyTorch: `pip install torch`, or save the weights as "
            ".safetensors where PyTorch is installed."
        ) from None
    try:
        # Nothing but tensors and plain containers is read: no code in the file is run.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InvalidInputError(
            f"{path} is no PyTorch file of tensors alone; save the model's state_dict by itself."
        ) from None
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, AttributeError):
        raise InvalidInputError(f"{path} is no readable PyTorch file; get it again.") from None
    for state in _STATES:
        if isinstance(content, Mapping) and isinstance(content.get(state), Mapping):
            content = content[state]
            break
    if not isinstance(content, Mapping):
        raise InvalidInputError(f"{path} holds no state_dict; save the model's state_dict.")
    return {
        str(name): tensor.detach().to(torch.float32).numpy()
        for name, tensor in content.items()
        if isinstance(tensor, torch.Tensor)
    }
