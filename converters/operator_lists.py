"""What graph preparation does to a network: its operators and multiply-adds before and after."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgedet.converters.saved_model import Exported, explained

_NO_OPERATORS = ("Placeholder", "Identity", "NoOp")


def effect(source: Path, exported: Exported) -> dict[str, dict[str, Any]]:
    """Operators of a network as trained and as prepared, before any format's converter.

    They are TensorFlow's, which all formats are made from; what depends on weights alone is left
    out. A batch normalization is a product and a sum, a fusion of three maps with weights three
    products and two sums.

    Args:
        source: the `.keras` file.
        exported: what was exported from it.

    Returns:
        `before` and `after`, each with `operators`, the number of each kind, the most frequent
        first, and `macs`, the multiply-adds of the convolutions for one batch.

    Raises:
        InvalidInputError: the file was changed in between and is no longer read.
        EdgeDetError: TensorFlow failed.
    """
    with explained(source):
        import tensorflow as tf

        from edgedet.models.network import build

        model = build(exported.spec, batch_size=exported.probe.shape[0])
        # The variables live as long as what was loaded does.
        loaded = tf.saved_model.load(str(exported.directory))
        prepared = loaded.signatures["serving_default"]
        return {
            "before": _listed(lambda image: model(image, training=False), exported),
            "after": _listed(lambda image: prepared(image=image), exported),
        }


def _listed(network: Callable[[Any], Any], exported: Exported) -> dict[str, Any]:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    image = tf.TensorSpec(exported.probe.shape, tf.float32, name="image")
    traced = tf.function(network, input_signature=[image]).get_concrete_function()
    # One graph, without the functions that a SavedModel is nested in.
    graph = convert_variables_to_constants_v2(traced).graph
    operations = _depending([op for op in graph.get_operations() if op.type == "Placeholder"])
    kinds = Counter(operation.type for operation in operations)
    return {
        "operators": {kind: n for kind, n in kinds.most_common() if kind not in _NO_OPERATORS},
        "macs": sum(_multiply_adds(operation) for operation in operations),
    }


def _depending(sources: list[Any]) -> list[Any]:
    """All operations that read what `sources` give, and these."""
    found: dict[str, Any] = {operation.name: operation for operation in sources}
    waiting = list(sources)
    while waiting:
        for tensor in waiting.pop().outputs:
            for reader in tensor.consumers():
                if reader.name not in found:
                    found[reader.name] = reader
                    waiting.append(reader)
    return list(found.values())


def _multiply_adds(operation: Any) -> int:
    if operation.type not in ("Conv2D", "DepthwiseConv2dNative"):
        return 0
    places = math.prod(operation.outputs[0].shape[:3])
    # A depthwise kernel [rows, columns, channels, 1] is used once at each place, as others are.
    return int(places * math.prod(operation.inputs[1].shape))
