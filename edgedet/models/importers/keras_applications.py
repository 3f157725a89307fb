"""Weights of keras.applications: EfficientNetB0 to B7 and MobileNetV2."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.models import mobilenet_v2
from edgedet.models.importers.transfer import (
    SourceName,
    TransferReport,
    link,
    opened,
    refuse_directory,
    refuse_left,
    transfer,
)

# B7 with its top takes 270 MB; a compressed file could claim any size.
_MAX_BYTES = 2**31

_BLOCK = re.compile(r"stage_(\d+)_block_(\d+)_(\w+)")
_SOURCE_BLOCK = re.compile(r"(block\d|block_|expanded_conv_)")
_PREDICTIONS = "predictions/"

# The part of a block's layer name that follows the block, ours and theirs.
_EFFICIENTNET_PARTS = {
    "expand_conv": "expand_conv",
    "expand_bn": "expand_bn",
    "depthwise": "dwconv",
    "bn": "bn",
    "se_reduce": "se_reduce",
    "se_excite": "se_expand",
    "project_conv": "project_conv",
    "project_bn": "project_bn",
}
_EFFICIENTNET_ENDS = {
    name: name for name in ("stem_conv", "stem_bn", "top_conv", "top_bn", "predictions")
}
_MOBILENET_PARTS = {
    "expand_conv": "expand",
    "expand_bn": "expand_BN",
    "depthwise": "depthwise",
    "bn": "depthwise_BN",
    "project_conv": "project",
    "project_bn": "project_BN",
}
_MOBILENET_ENDS = {
    "stem_conv": "Conv1",
    "stem_bn": "bn_Conv1",
    "top_conv": "Conv_1",
    "top_bn": "Conv_1_bn",
    "predictions": "predictions",
}
# A `.weights.h5` file numbers the variables of a layer instead of naming them.
_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}


def import_keras_applications(
    source: str | os.PathLike[str] | Mapping[str, Any], network: keras.Model
) -> TransferReport:
    """Bring the weights of a keras.applications EfficientNet or MobileNetV2 into a network.

    The network is our classifier of that name, or a detector on its backbone, which takes the
    backbone alone. Predictions for another number of classes are left at their start, as are all
    layers that the backbone doesn't have; the report lists them.

    keras.applications normalizes inside its network, ours take normalized images: the published
    ImageNet weights expect `EfficientNet.normalization`, MobileNetV2's `normalization.GREY`.

    Args:
        source: an HDF5 file of weights, with or without the top: `.weights.h5`, the older `.h5`
            or a whole model's `.h5`; or arrays by `layer/variable`.
        network: its weights are overwritten.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: a damaged or foreign file, or weights of another architecture; the
            network is as before.
    """
    arrays, origin = opened(source, _read)
    arrays = {_short(name): array for name, array in arrays.items()}
    source_name: SourceName
    if "stem_conv/kernel" in arrays:
        source_name = _efficientnet_name
    elif "Conv1/kernel" in arrays:
        source_name = _mobilenet_name
    else:
        raise InvalidInputError(
            f"{origin} holds no EfficientNet and no MobileNetV2 of keras.applications."
        )
    links = link(network, source_name, optional=lambda path: path.startswith(_PREDICTIONS))
    blocks = {name for each in links for name in each.sources if _SOURCE_BLOCK.match(name)}
    if not blocks:
        raise InvalidInputError(
            f"The network {network.name} has none of the layers of {origin}; choose a network on "
            "an EfficientNet or MobileNetV2 backbone."
        )
    # A deeper source would otherwise pass, its further blocks dropped.
    refuse_left(filter(_SOURCE_BLOCK.match, arrays), blocks, origin, network)
    return transfer(arrays, links, origin=origin)


def _efficientnet_name(path: str) -> str | None:
    """Stage 2, block 0 is block3a."""
    layer, _, variable = path.partition("/")
    block = _BLOCK.fullmatch(layer)
    if block and block[3] in _EFFICIENTNET_PARTS:
        letter = chr(ord("a") + int(block[2]))
        return f"block{int(block[1]) + 1}{letter}_{_EFFICIENTNET_PARTS[block[3]]}/{variable}"
    return f"{_EFFICIENTNET_ENDS[layer]}/{variable}" if layer in _EFFICIENTNET_ENDS else None


def _mobilenet_name(path: str) -> str | None:
    """Blocks are counted through all stages; the first one has a name of its own."""
    layer, _, variable = path.partition("/")
    block = _BLOCK.fullmatch(layer)
    if block and block[3] in _MOBILENET_PARTS:
        stages = mobilenet_v2.STAGES[: int(block[1])]
        index = sum(stage.repeats for stage in stages) + int(block[2])
        prefix = f"block_{index}" if index else "expanded_conv"
        return f"{prefix}_{_MOBILENET_PARTS[block[3]]}/{variable}"
    return f"{_MOBILENET_ENDS[layer]}/{variable}" if layer in _MOBILENET_ENDS else None


def _short(name: str) -> str:
    """`layer/variable` as Keras 3 has it, of a name with scopes, an output number or both."""
    *scopes, variable = name.split(":")[0].split("/")
    variable = variable.replace("depthwise_kernel", "kernel")
    return f"{scopes[-1]}/{variable}" if scopes else variable


def _read(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Every array of a weights file, by `layer/variable`."""
    # h5py comes with Keras; it takes its time to import.
    import h5py  # type: ignore[import-untyped]

    path = Path(source)
    refuse_directory(path)
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    try:
        with h5py.File(path, "r") as file:
            datasets = dict(_legacy(file) if _is_legacy(file) else _numbered(file))
            # A link could lead into any other file of this machine.
            if any(
                each.file.filename != file.filename or each.external or each.is_virtual
                for each in datasets.values()
            ):
                raise InvalidInputError(f"{path} refers to other files; save its weights again.")
            if sum(each.nbytes for each in datasets.values()) > _MAX_BYTES:
                raise InvalidInputError(f"{path} holds more than {_MAX_BYTES} bytes of weights.")
            return {name: each[()] for name, each in datasets.items()}
    except InvalidInputError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError):
        raise InvalidInputError(
            f"{path} is no readable HDF5 file of Keras weights; get it again."
        ) from None


def _is_legacy(file: Any) -> bool:
    return "model_weights" in file or _attribute(file, "layer_names") is not None


def _attribute(group: Any, name: str) -> list[str] | None:
    """A list of names; Keras splits long ones into `name0`, `name1`, ..."""
    if name in group.attrs:
        values = list(group.attrs[name])
    elif f"{name}0" in group.attrs:
        values = []
        while f"{name}{len(values)}" in group.attrs:
            values.append(group.attrs[f"{name}{len(values)}"])
        values = [value for chunk in values for value in chunk]
    else:
        return None
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _legacy(file: Any) -> Iterator[tuple[str, Any]]:
    """Datasets of the layout of Keras 1 and 2: groups by layer, listed in attributes."""
    root = file.get("model_weights", file)
    for layer in _attribute(root, "layer_names") or ():
        group = root[layer]
        names = _attribute(group, "weight_names") or []
        # Without models inside the group is the layer, and scopes may carry a number more.
        nested = len({name.rpartition("/")[0] for name in names}) > 1
        for name in names:
            yield _short(name if nested else f"{layer}/{name.rpartition('/')[2]}"), group[name]


def _numbered(file: Any) -> Iterator[tuple[str, Any]]:
    """Datasets of the layout of Keras 3: groups by class, with the layer's name as attribute."""
    groups: list[Any] = []
    file.visititems(lambda path, item: groups.append(item) if path.endswith("/vars") else None)
    for group in groups:
        if not len(group):
            continue
        layer = group.attrs["name"]
        kind = re.sub(r"_\d+$", "", group.parent.name.rpartition("/")[2])
        names = _VARIABLES.get(kind, ())
        for number, dataset in group.items():
            known = number.isdecimal() and int(number) < len(names)
            yield f"{layer}/{names[int(number)] if known else number}", dataset
