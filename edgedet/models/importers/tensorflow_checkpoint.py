"""Reads TensorFlow checkpoints: arrays by name, of graphs (version 1) and of objects (2)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.errors import InvalidInputError, MissingDependencyError, MissingFileError

_MAX_BYTES = 2**32
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True)
class Checkpoint:
    """Arrays of a checkpoint.

    Attributes:
        arrays: floating-point arrays by name; in a checkpoint of objects the name is the way to
            the variable through the attributes of the objects: `model/backbone/...`.
        names: of a checkpoint of objects, the variables' own names by the arrays' names; where
            the file has none, and for a checkpoint of a graph, empty.
    """

    arrays: dict[str, np.ndarray]
    names: dict[str, str]


def read_checkpoint(path: str | os.PathLike[str], wanted: tuple[str, ...] = ()) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: its prefix, its `.index` file, or a directory with a file `checkpoint` that names it.
        wanted: beginnings of array names to read; all by default.

    Raises:
        MissingFileError: there is no such checkpoint.
        MissingDependencyError: TensorFlow is not installed.
        InvalidInputError: a damaged file, or one larger than any network here.
    """
    try:
        import tensorflow as tf
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f'Reading {path} needs TensorFlow; install it with `pip install "edgedet[convert]"`.'
        ) from None
    place = Path(path)
    if place.suffix == ".index":
        place = place.with_suffix("")
    if place.is_dir():
        newest = tf.train.latest_checkpoint(place)
        if newest is None:
            raise MissingFileError(f"{place} has no file 'checkpoint' that names a checkpoint.")
        place = Path(newest)
    if not Path(f"{place}.index").is_file():
        raise MissingFileError(f"There is no checkpoint {place}: {place.name}.index is missing.")
    try:
        reader = tf.train.load_checkpoint(os.fspath(place))
        types = reader.get_variable_to_dtype_map()
        shapes = {
            key: shape
            for key, shape in reader.get_variable_to_shape_map().items()
            if types[key].is_floating and (not wanted or key.startswith(wanted))
        }
        size = sum(types[key].size * math.prod(shape) for key, shape in shapes.items())
        if size > _MAX_BYTES:
            raise InvalidInputError(f"{place} holds more than {_MAX_BYTES} bytes of weights.")
        arrays = {
            key.removesuffix(_VALUE): np.asarray(reader.get_tensor(key), np.float32)
            for key in sorted(shapes)
        }
        names = {}
        if _OBJECTS in types:
            names = _own_names(reader.get_tensor(_OBJECTS))
    except (tf.errors.OpError, ValueError, RuntimeError, UnicodeDecodeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"{place} is no readable TensorFlow checkpoint; get all its files again."
        ) from None
    return Checkpoint(arrays, names)


def _own_names(serialized: bytes) -> dict[str, str]:
    # A message of TensorFlow's public format; the class that reads it has no public place.
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(serialized)
    return {
        attribute.checkpoint_key.removesuffix(_VALUE): attribute.full_name
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.full_name
    }
