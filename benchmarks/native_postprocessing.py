"""`ops.postprocess` beside OpenVINO's NMS-9 and TFLite_Detection_PostProcess."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.anchors import all_anchors
from edgedet.benchmarks.native_graphs import Graph, one_thread
from edgedet.benchmarks.native_heads import Heads, detector_heads
from edgedet.benchmarks.native_peers import ALLOCATIONS_LIBRARY, Peers
from edgedet.benchmarks.native_timing import Comparison, Measure, compare
from edgedet.boxes import decode
from edgedet.errors import EdgeDetError

THRESHOLDS = (0.3, 0.05, 0.001)
IOU = 0.5
DETECTIONS = 100
MOST_MEGABYTES = 4.0

OPENVINO = "OpenVINO NMS-9"
REGULAR = "TFLite_Detection_PostProcess, regular"
FAST = "TFLite_Detection_PostProcess, fast"

# How many times faster ours is to be; at 0.001 than the best of them, so than each.
_BARS = {
    (0.05, OPENVINO): 5.0,
    (0.05, REGULAR): 15.0,
    (0.001, OPENVINO): 5.0,
    (0.001, REGULAR): 5.0,
    (0.001, FAST): 5.0,
}


def measure_postprocess(peers: Peers, quick: bool) -> Iterator[Comparison]:
    """Compare from int8 heads on; the peers are given float scores and boxes for nothing.

    OpenVINO's boxes are decoded already, TFLite's operator decodes them. OpenVINO returns up to 100
    boxes of each class, the others 100 in all.

    Raises:
        EdgeDetError: the detections of TFLite's regular form have other scores than ours.
    """
    heads = _heads(quick)
    scores, codes, anchors = heads.scores(), heads.codes(), all_anchors(heads.spec)
    interpreter, openvino = peers.litert(), peers.openvino()
    for conf in THRESHOLDS:
        calls: dict[str, Callable[[], object]] = {}
        if openvino is not None:
            calls[OPENVINO] = openvino_nms(openvino, decode(codes, anchors), scores, conf)
        if interpreter is not None:
            for name, regular in ((REGULAR, True), (FAST, False)):
                file = detection_postprocess(anchors, scores.shape[1], conf, regular)
                ready = one_thread(interpreter, file, [codes[None], scores[None]])
                calls[name] = ready.invoke
                if regular:
                    ready.invoke()
                    found = ready.get_tensor(ready.get_output_details()[2]["index"])[0]
                    _check(heads.postprocess(conf, IOU, DETECTIONS)[1], found, conf)
        candidates = np.count_nonzero(scores >= np.float32(conf))
        yield from compare(
            "postprocess",
            f"conf {conf}, {candidates} candidates",
            partial(heads.postprocess, conf, IOU, DETECTIONS),
            {name: (call, _BARS.get((conf, name))) for name, call in calls.items()},
            0.02 if quick else 4.0,
        )


def measure_memory(peers: Peers, quick: bool) -> Iterator[Measure]:
    """The most heap memory that `ops.postprocess` holds, its result and Python's part included.

    Each figure comes from a process of its own, whose allocator counts.
    """
    library = peers.built(ALLOCATIONS_LIBRARY)
    if library is None:
        return
    for conf in (0.05, 0.001):
        command = [sys.executable, str(Path(__file__).resolve()), str(library), str(conf)]
        done = subprocess.run(
            [*command, *(["quick"] if quick else [])],
            env={**os.environ, "LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EdgeDetError(f"The memory of postprocess was not measured: {done.stderr}")
        limit = MOST_MEGABYTES if conf == 0.05 else None
        yield Measure(
            "memory", f"postprocess, conf {conf}", int(done.stdout) / 2**20, "MiB, peak", limit
        )


def detection_postprocess(
    anchors: npt.NDArray[np.float32], classes: int, conf: float, regular: bool
) -> bytes:
    """A .tflite file with nothing but TFLite_Detection_PostProcess in it.

    Args:
        anchors: [N, 4] float32 `cx, cy, w, h`; the operator's order is `cy, cx, h, w`.
        classes: how many classes the scores have.
        conf: lowest score.
        regular: suppress within each class; otherwise each box has its best class only, and boxes
            of different classes suppress each other.
    """
    graph = Graph()
    codes = graph.tensor((1, len(anchors), 4))
    scores = graph.tensor((1, len(anchors), classes))
    places = graph.constant(np.ascontiguousarray(anchors[:, [1, 0, 3, 2]]))
    shapes = ((1, DETECTIONS, 4), (1, DETECTIONS), (1, DETECTIONS), (1,))
    outputs = [graph.tensor(shape) for shape in shapes]
    options = {
        "max_detections": DETECTIONS,
        "max_classes_per_detection": 1,
        "detections_per_class": DETECTIONS,
        "use_regular_nms": regular,
        "nms_score_threshold": float(conf),
        "nms_iou_threshold": IOU,
        "num_classes": classes,
        "y_scale": 1.0,
        "x_scale": 1.0,
        "h_scale": 1.0,
        "w_scale": 1.0,
    }
    graph.custom_operator("TFLite_Detection_PostProcess", [codes, scores, places], outputs, options)
    return graph.finish([codes, scores], outputs)


def openvino_nms(
    openvino: Any, boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], conf: float
) -> Callable[[], object]:
    """A call of a model whose only operator is NonMaxSuppression-9, on one thread.

    Args:
        openvino: the package.
        boxes: [N, 4] float32 corners.
        scores: [N, classes] float32.
        conf: lowest score.
    """
    opset = importlib.import_module("openvino.opset9")
    by_class = np.ascontiguousarray(scores.T)[None]
    given = [
        opset.parameter(values.shape, np.float32, name=name)
        for name, values in (("boxes", boxes[None]), ("scores", by_class))
    ]
    result = opset.non_max_suppression(
        *given,
        *(opset.constant(np.array(value)) for value in (np.int64(DETECTIONS), np.float32(IOU))),
        opset.constant(np.array(np.float32(conf))),
        box_encoding="corner",
        sort_result_descending=True,
        output_type="i64",
    )
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Model(result.outputs(), given, "nms")
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(np.ascontiguousarray(boxes[None])))
    request.set_input_tensor(1, openvino.Tensor(by_class))
    infer: Callable[[], object] = request.infer
    return infer


def _heads(quick: bool) -> Heads:
    return detector_heads(64, 3, 4) if quick else detector_heads()


def _check(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32], conf: float) -> None:
    # Equal scores may be taken in another order and suppress others, so few may differ.
    theirs = theirs[: len(ours)]
    same = np.isclose(ours[: len(theirs)], theirs, atol=1e-3).mean() if len(ours) else 1.0
    if same < 0.9:
        raise EdgeDetError(f"postprocess: TFLite finds other scores at {conf}.")


def _print_peak(library: str, conf: float, quick: bool) -> None:
    import ctypes

    counter = ctypes.CDLL(library)
    counter.edgedet_allocation_peak.restype = ctypes.c_int64
    heads = _heads(quick)
    # What is kept for later calls, as the anchors are, is not the call's own.
    heads.postprocess(1.0, IOU, DETECTIONS)
    counter.edgedet_allocation_reset()
    found = heads.postprocess(conf, IOU, DETECTIONS)
    print(counter.edgedet_allocation_peak())
    del found


if __name__ == "__main__":
    _print_peak(sys.argv[1], float(sys.argv[2]), sys.argv[3:] == ["quick"])
