"""ONNX: decoding and `NonMaxSuppression` behind the raw heads.

The outputs are those that torchvision's detectors have when exported, in their order: `boxes`,
`labels` and `scores`, without padding. That is the layout which needs no knowledge of edgedet to be
read: pixels, integer classes, and as many rows as there are detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.anchors import all_anchors
from edgedet.archive.onnx import DIGEST_KEY, SPEC_KEY, append_spec
from edgedet.boxes import LOG_SIZE_LIMIT
from edgedet.converters.nms.options import NmsOptions, check_batch
from edgedet.spec import ModelSpec

OUTPUTS = ("boxes", "labels", "scores")


def embed(files: Mapping[str, bytes], spec: ModelSpec, options: NmsOptions) -> dict[str, bytes]:
    """`.onnx` with the suppression inside (see `edgedet.converters.nms.embed`)."""
    import onnx

    model = onnx.ModelProto.FromString(files[".onnx"])
    kept = [entry for entry in model.metadata_props if entry.key not in (SPEC_KEY, DIGEST_KEY)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    graph = _Graph(model.graph)
    check_batch(graph.batch(spec.class_outputs[0]))
    logits = graph.joined("scores", spec.class_outputs, spec.num_classes)
    scores = graph.add("Transpose", [graph.add("Sigmoid", [logits])], perm=[0, 2, 1])
    boxes = graph.boxes(graph.joined("codes", spec.box_outputs, 4), spec)
    graph.select(boxes, scores, spec, options)
    onnx.checker.check_model(model, full_check=True)
    return {".onnx": append_spec(model.SerializeToString(deterministic=True), spec)}


class _Graph:
    """A graph to which operators are added, their names all under `nms/`."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._count = 0

    def batch(self, output: str) -> int:
        """The first side of an output."""
        (found,) = (one for one in self._graph.output if one.name == output)
        return int(found.type.tensor_type.shape.dim[0].dim_value)

    def add(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str] = (), **attributes: Any
    ) -> str:
        """Add an operator; the name of its first output."""
        import onnx

        name = f"nms/{kind}_{self._count}"
        self._count += 1
        outputs = outputs or (f"{name}/output",)
        node = onnx.helper.make_node(kind, inputs, outputs, name, **attributes)
        self._graph.node.append(node)
        return outputs[0]

    def constant(self, name: str, values: npt.ArrayLike, kind: type = np.float32) -> str:
        """Add a constant; its name."""
        import onnx

        tensor = onnx.numpy_helper.from_array(np.asarray(values, kind), f"nms/{name}")
        self._graph.initializer.append(tensor)
        return str(tensor.name)

    def joined(self, name: str, outputs: Sequence[str], columns: int) -> str:
        """The maps of all levels as one tensor [1, anchors, columns]."""
        shape = self.constant(f"{name}_shape", [1, -1, columns], np.int64)
        return self.add("Concat", [self.add("Reshape", [one, shape]) for one in outputs], axis=1)

    def boxes(self, codes: str, spec: ModelSpec) -> str:
        """Codes [1, N, 4] decoded to `y0, x0, y1, x1` in pixels of the input."""
        anchors = all_anchors(spec)[None]
        centres = self.constant("anchor_centres", anchors[..., [1, 0]])
        sizes = self.constant("anchor_sizes", anchors[..., [3, 2]])
        halves = self.constant("anchor_halves", anchors[..., [3, 2]] / 2)
        limit = self.constant("log_size_limit", LOG_SIZE_LIMIT)
        parts = ("nms/shifts", "nms/log_sizes")
        self.add("Split", [codes], parts, axis=2)
        middle = self.add("Add", [self.add("Mul", [parts[0], sizes]), centres])
        half = self.add("Mul", [self.add("Exp", [self.add("Min", [parts[1], limit])]), halves])
        ends = [self.add(kind, [middle, half]) for kind in ("Sub", "Add")]
        return self.add("Concat", ends, axis=2)

    def select(self, boxes: str, scores: str, spec: ModelSpec, options: NmsOptions) -> None:
        """Suppress boxes [1, N, 4] by scores [1, classes, N]; the best become the outputs."""
        count = self.constant("max_detections", [options.max_detections], np.int64)
        limits = [
            self.constant(name, [getattr(options, name)])
            for name in ("iou_threshold", "score_threshold")
        ]
        chosen = self.add("NonMaxSuppression", [boxes, scores, count, *limits])
        confident = self.add("GatherND", [scores, chosen])
        present = self.add("Min", [self.add("Shape", [confident]), count])
        ranks = "nms/ranks"
        self.add("TopK", [confident, present], ("scores", ranks))
        best = self.add("Gather", [chosen, ranks], axis=0)
        self.add("Gather", [best, self.constant("class", 1, np.int64)], ("labels",), axis=1)
        anchor = self.add("Gather", [best, self.constant("anchor", 2, np.int64)], axis=1)
        image = self.add("Squeeze", [boxes, self.constant("batch", [0], np.int64)])
        corners = self.add("Gather", [image, anchor], axis=0)
        order = self.constant("corner_order", [1, 0, 3, 2], np.int64)
        ordered = self.add("Gather", [corners, order], axis=1)
        height, width = spec.input.height, spec.input.width
        far = self.constant("far_corner", [width, height, width, height])
        inside = self.add("Max", [ordered, self.constant("origin", 0)])
        self.add("Min", [inside, far], ("boxes",))
        self._set_outputs()

    def _set_outputs(self) -> None:
        import onnx

        real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
        described = (("boxes", real, ["N", 4]), ("labels", whole, ["N"]), ("scores", real, ["N"]))
        values = [onnx.helper.make_tensor_value_info(*one) for one in described]
        heads = list(self._graph.output)
        del self._graph.output[:]
        self._graph.output.extend(values)
        self._graph.value_info.extend(heads)
