"""Writes golden.json and golden.bin from `edgedet.reference`; README.md tells how to read them.

python tests/native/golden/make_golden.py [DIRECTORY]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import reference
from edgedet.anchors import base_anchors, grid
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

ALIGNMENT = 16
Array = npt.NDArray[Any]


class Stream:
    """Random numbers that no release of NumPy changes: PCG64's bits and exact arithmetic."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Array:
        """float64 of low..high."""
        raw = self._bits.random_raw(int(np.prod(shape))).reshape(shape)
        return low + (high - low) * ((raw >> np.uint64(40)) * 2.0**-24)

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """Integers of low..high, both included."""
        return np.floor(self.uniform(low, high + 1, shape)).astype(dtype)


class Golden:
    """Cases, and the bytes of their arrays."""

    def __init__(self) -> None:
        self.cases: list[dict[str, Any]] = []
        self._arrays: dict[tuple[str, bytes], int] = {}
        self._bytes = bytearray()

    def add(
        self,
        name: str,
        function: str,
        options: Mapping[str, Any],
        inputs: Mapping[str, Array | Sequence[Array]],
        outputs: Mapping[str, Array],
        spec: Mapping[str, Any] | None = None,
        geometry: Mapping[str, Array] | None = None,
        steps: int = 0,
    ) -> None:
        """One call and what it returns; `geometry` is what a spec or shapes say, worked out."""
        case: dict[str, Any] = {"name": name, "function": function, "options": dict(options)}
        case["inputs"] = {key: self._place(value) for key, value in inputs.items()}
        case["outputs"] = {key: self._place(value) for key, value in outputs.items()}
        if steps:
            case["steps"] = steps
        if spec is not None:
            case["spec"] = dict(spec)
        if geometry is not None:
            case["geometry"] = {key: self._place(value) for key, value in geometry.items()}
        self.cases.append(case)

    def write(self, directory: Path) -> None:
        """golden.json, one case per line, and golden.bin."""
        lines = ",\n".join(json.dumps(case, allow_nan=False) for case in self.cases)
        (directory / "golden.json").write_text(f"[\n{lines}\n]\n")
        (directory / "golden.bin").write_bytes(bytes(self._bytes))

    def _place(self, value: Array | Sequence[Array]) -> Any:
        if not isinstance(value, np.ndarray):
            return [self._place(array) for array in value]
        stored = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"))
        key = (stored.dtype.name, stored.tobytes())
        if key not in self._arrays:
            self._bytes += bytes(-len(self._bytes) % ALIGNMENT)
            self._arrays[key] = len(self._bytes)
            self._bytes += key[1]
        offset = self._arrays[key]
        return {"dtype": value.dtype.name, "shape": list(value.shape), "offset": offset}


def crowd(seed: int, count: int, spread: float) -> dict[str, Array]:
    """Boxes that overlap, scores with ties, three classes."""
    stream = Stream(seed)
    low = stream.uniform(0, spread, (count, 2))
    boxes = np.concatenate([low, low + stream.uniform(4, 40, (count, 2))], axis=1)
    return {
        "boxes": boxes.astype(np.float32),
        "scores": (stream.integers(0, 64, (count,), np.int64) / 64).astype(np.float32),
        "class_ids": stream.integers(-1, 1, (count,), np.int64) * 2**40,
    }


def odd_boxes() -> dict[str, Array]:
    """Equal, touching, inverted, empty, huge and non-finite boxes; equal and non-finite scores."""
    inf, nan = np.inf, np.nan
    boxes = [
        *([0, 0, 8, 8], [0, 0, 8, 8], [8, 0, 16, 8], [0, 0, 8, 16], [8, 8, 0, 0], [4, 4, 4, 4]),
        *([0, 0, inf, 8], [nan, 0, 8, 8], [-3e38, -3e38, 3e38, 3e38], [1e30, 1e30, 3e30, 3e30]),
        *([-0.0, 0, 8, 8], [1e-40, 0, 3e-40, 1], [0, 0, 7.999999, 8], [2**24, 0, 2**24 + 2, 2]),
    ]
    scores = [0.5, 0.5, 0.5, 0.9, 0.9, 0.9, 1.0, 1.0, 0.25, 0.25, nan, inf, -0.0, 0.0]
    return {"boxes": np.array(boxes, np.float32), "scores": np.array(scores, np.float32)}


def add_nms(golden: Golden) -> None:
    sets = {"crowd": crowd(1, 120, 50), "odd": odd_boxes(), "one": crowd(2, 1, 1)}
    sets["none"] = {"boxes": np.zeros((0, 4), np.float32), "scores": np.zeros(0, np.float32)}
    options: list[tuple[str, str, dict[str, Any]]] = [
        ("crowd", "half", {"iou_threshold": 0.5}),
        ("crowd", "limits", {"iou_threshold": 0.3, "score_threshold": 0.25, "max_detections": 9}),
        ("crowd", "touching", {"iou_threshold": 0.0}),
        ("odd", "half", {"iou_threshold": 0.5}),
        ("odd", "all", {"iou_threshold": 1.0}),
        ("one", "half", {"iou_threshold": 0.5}),
        ("none", "half", {"iou_threshold": 0.5}),
    ]
    for of, name, values in options:
        for per_class in (False, True):
            inputs = dict(sets[of])
            if not per_class:
                inputs.pop("class_ids", None)
            elif "class_ids" not in inputs:
                continue
            kept = reference.nms(**inputs, **values)
            title = f"nms {of} {name}" + (" per class" if per_class else "")
            golden.add(title, "nms", values, inputs, {"kept": kept})


def add_soft_nms(golden: Golden) -> None:
    sets = {"crowd": crowd(3, 80, 60), "odd": odd_boxes()}
    options: list[tuple[str, str, dict[str, Any]]] = [
        ("crowd", "gaussian", {"method": "gaussian", "sigma": 0.5}),
        ("crowd", "narrow", {"method": "gaussian", "sigma": 0.1, "score_threshold": 0.05}),
        ("crowd", "linear", {"method": "linear", "iou_threshold": 0.3, "max_detections": 40}),
        ("odd", "gaussian", {"method": "gaussian", "sigma": 0.5, "score_threshold": 0.0}),
        ("odd", "linear", {"method": "linear", "iou_threshold": 0.3}),
    ]
    for of, name, values in options:
        for per_class in (False, True):
            inputs = dict(sets[of])
            if not per_class:
                inputs.pop("class_ids", None)
            elif "class_ids" not in inputs:
                continue
            indices, rescored = reference.soft_nms(**inputs, **values)
            title = f"soft_nms {of} {name}" + (" per class" if per_class else "")
            outputs = {"indices": indices, "rescored": rescored}
            golden.add(title, "soft_nms", values, inputs, outputs)


def add_decode(golden: Golden) -> None:
    stream = Stream(4)
    codes = stream.uniform(-3, 3, (60, 4)).astype(np.float32)
    codes[:8, 2:] = np.array([5, 90, -90, 0, np.nan, np.inf, -np.inf, 4.1351666]).reshape(8, 1)
    anchors = stream.uniform(1, 300, (60, 4)).astype(np.float32)
    with np.errstate(all="ignore"):
        boxes = reference.decode(codes, anchors)
    golden.add("decode", "decode", {}, {"codes": codes, "anchors": anchors}, {"boxes": boxes})


def heads(
    seed: int, spec: ModelSpec, class_type: Any, box_type: Any
) -> tuple[dict[str, list[Array]], dict[str, Any]]:
    """Random maps of every level, sparse as a network's, and their quantization."""
    stream = Stream(seed)
    maps: dict[str, list[Array]] = {"class_maps": [], "box_maps": []}
    quantization: dict[str, list[tuple[float, int]]] = {
        "class_quantization": [],
        "box_quantization": [],
    }
    for level in spec.anchors.levels:
        for head, columns, dtype, low, high in (
            ("class", spec.num_classes, class_type, -8.0, 2.0),
            ("box", 4, box_type, -1.0, 1.0),
        ):
            shape = (1, *spec.level_size(level), spec.anchors.per_location * columns)
            values = stream.uniform(low, high, shape)
            scale, zero_point = 1.0, 0
            if dtype != np.float32:
                limits = np.iinfo(dtype)
                scale = float(np.float32((high - low) / (limits.max - limits.min)))
                zero_point = int(np.rint(limits.min - low / scale))
                values = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max)
            maps[f"{head}_maps"].append(values.astype(dtype))
            quantization[f"{head}_quantization"].append((scale, zero_point))
    return maps, quantization


def add_postprocess(golden: Golden) -> None:
    shape = {"height": 40, "width": 56, "min_level": 3, "max_level": 5, "classes": 3}
    shape |= {"scale": 3.0, "octaves": 1, "aspect_ratios": [1.0, 2.0]}
    spec = ModelSpec(
        name="golden",
        input=InputSpec(40, 56),
        anchors=AnchorSpec(3, 5, 3.0, 1, (1.0, 2.0)),
        labels=("a", "b", "c"),
        category_ids=(0, 1, 2),
    )
    grids = [grid(spec.anchors, level, 40, 56) for level in spec.anchors.levels]
    geometry = {
        "strides": np.array([(place.stride_y, place.stride_x) for place in grids], np.float32),
        "anchor_sizes": np.stack(
            [
                base_anchors(spec.anchors, level, place.stride_y, place.stride_x)
                for level, place in zip(spec.anchors.levels, grids, strict=True)
            ]
        ).astype(np.float32),
    }
    clipped = {"ratio": 0.4, "image_size": [90, 120]}
    cases: list[tuple[str, Any, Any, dict[str, Any]]] = [
        ("float32", np.float32, np.float32, {"conf": 0.5, "iou": 0.5, **clipped}),
        ("int8", np.int8, np.int8, {"conf": 0.5, "iou": 0.5, "max_det": 20, **clipped}),
        ("uint8", np.uint8, np.uint8, {"conf": 0.6, "iou": 0.3}),
        ("int16", np.int16, np.int16, {"conf": 0.6, "iou": 0.7, "ratio": 1.7}),
        ("mixed", np.int8, np.float32, {"conf": 0.7, "iou": 0.0}),
        ("every candidate", np.int8, np.uint8, {"conf": 0.0, "iou": 0.5, "max_det": 60}),
        ("no candidate", np.uint8, np.int8, {"conf": 1.0, "iou": 0.5}),
        ("agnostic", np.int8, np.int8, {"conf": 0.5, "iou": 0.5, "agnostic": True}),
        ("gaussian", np.float32, np.int8, {"conf": 0.4, "nms": "soft-gaussian", "sigma": 0.4}),
        ("linear", np.int8, np.int16, {"conf": 0.3, "iou": 0.4, "nms": "soft-linear"}),
        ("without nms", np.int8, np.int8, {"conf": 0.7, "nms": "none", "max_det": 50}),
    ]
    for seed, (name, class_type, box_type, options) in enumerate(cases):
        maps, quantization = heads(100 + seed, spec, class_type, box_type)
        values = {**options, **quantization}
        boxes, scores, class_ids = reference.postprocess(
            maps["class_maps"], maps["box_maps"], spec, **values
        )
        golden.add(
            f"postprocess {name}",
            "postprocess",
            {
                key: [list(pair) for pair in value] if "quant" in key else value
                for key, value in values.items()
            },
            maps,
            {"boxes": boxes, "scores": scores, "class_ids": class_ids},
            shape,
            geometry,
        )


def add_letterbox(golden: Golden) -> None:
    stream = Stream(200)
    images = {
        channels: stream.integers(0, 255, (19, 27, channels), np.uint8) for channels in (1, 3, 4)
    }
    channels_of = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "gray": 1}
    uneven: dict[str, Any] = {"mean": [120.3, 110.2, 100.1], "std": [58.5, 57.25, 57.0]}
    int8 = {"dtype": "int8", "scale": 0.02, "zero_point": -7}
    uint8 = {"dtype": "uint8", "scale": 0.0078125, "zero_point": 128}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("float32", {"size": [12, 16], "dtype": "float32"}),
        ("float32 uneven", {"size": [16, 12], "dtype": "float32", **uneven}),
        ("int8", {"size": [12, 16], **int8, **uneven}),
        ("uint8", {"size": [12, 16], **uint8}),
        ("enlarged", {"size": [40, 40], **int8}),
        ("to one row", {"size": [1, 30], **int8}),
    ]
    cases += [(layout, {"size": [16, 16], **int8, "format": layout}) for layout in channels_of]
    cases += [
        (
            f"{turn} degrees{' mirrored' if mirror else ''}",
            {"size": [18, 14], **uint8, "rotation": turn, "mirror": mirror},
        )
        for turn in (0, 90, 180, 270)
        for mirror in (False, True)
    ]
    for name, options in cases:
        image = images[channels_of[options.get("format", "rgb")]]
        tensor, ratio = reference.letterbox(image, **options)
        outputs = {"tensor": tensor, "ratio": np.array(ratio)}
        golden.add(f"letterbox {name}", "letterbox", options, {"image": image}, outputs)

    planes = {
        "y": stream.integers(0, 255, (21, 25), np.uint8),
        "u": stream.integers(0, 255, (11, 13), np.uint8),
        "v": stream.integers(0, 255, (11, 13), np.uint8),
    }
    for range_ in ("bt601-full", "bt601-limited"):
        for turn, mirror, quantization in ((0, False, int8), (90, True, uint8)):
            options = {"size": [16, 18], **quantization, "yuv": range_}
            options |= {"rotation": turn, "mirror": mirror}
            tensor, ratio = reference.letterbox_yuv(*planes.values(), **options)
            outputs = {"tensor": tensor, "ratio": np.array(ratio)}
            golden.add(f"letterbox_yuv {range_} {turn}", "letterbox_yuv", options, planes, outputs)


def add_weighted_fusion(golden: Golden) -> None:
    # Shapes, and how their rows and columns become the first one's: repeated, halved.
    shapes = {(6, 5): (1, 0, 1, 0), (3, 5): (2, 0, 1, 0), (2, 3): (3, 0, 2, 0)}
    shapes |= {(12, 10): (1, 1, 1, 1), (21, 17): (1, 2, 1, 2), (1, 20): (6, 0, 1, 2)}
    weights = np.array([0.75, 1.25, -0.5, 2.0, 0.375, 0.1], np.float32)
    resampling = np.array(list(shapes.values()), np.int64)
    scales = [[0.05, -3], [0.04, 5], [0.1, 0], [0.03, 100], [0.02, -128], [0.07, 127]]
    quantized = {"quantization": scales, "out_quantization": [0.06, -20]}
    stream = Stream(300)
    wide = [stream.uniform(-9, 9, (*shape, 5)).astype(np.float32) for shape in shapes]
    narrow = [stream.integers(-128, 127, (*shape, 5), np.int8) for shape in shapes]
    for activation in ("none", "relu", "relu6", "hard_swish", "swish"):
        for kind, inputs, more in (("float32", wide, {}), ("int8", narrow, quantized)):
            # Swish alone is not the same bits everywhere: see README.md.
            steps = 0 if activation != "swish" else 4 if kind == "float32" else 1
            options = {"activation": activation, "epsilon": 1e-4, **more}
            fused = reference.weighted_fusion(inputs, weights, **options)
            golden.add(
                f"weighted_fusion {kind} {activation}",
                "weighted_fusion",
                options,
                {"inputs": inputs, "weights": weights},
                {"fused": fused},
                geometry={"resampling": resampling},
                steps=steps,
            )


def main() -> None:
    golden = Golden()
    add_nms(golden)
    add_soft_nms(golden)
    add_decode(golden)
    add_postprocess(golden)
    add_letterbox(golden)
    add_weighted_fusion(golden)
    golden.write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)


if __name__ == "__main__":
    main()
