"""What `edgedet.ops.letterbox`, `letterbox_yuv` and `nv21_planes` say to wrong arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet import ops
from edgedet.errors import InvalidInputError

IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("image", {"image": IMAGE.astype(np.float32)}),
        ("image", {"image": IMAGE[..., 0]}),
        ("image", {"image": np.zeros((4, 4, 4), np.uint8)}),
        ("image", {"image": np.zeros((0, 4, 3), np.uint8)}),
        ("image", {"image": np.zeros((4, 0, 3), np.uint8)}),
        ("image", {"image": [[[0, 0, 0]]]}),
        ("image", {"image": None}),
        ("image", {"image": np.broadcast_to(IMAGE[:1, :1], (2**31, 1, 3))}),
        ("size", {"size": (0, 8)}),
        ("size", {"size": (8, -1)}),
        ("size", {"size": (8, 8, 3)}),
        ("size", {"size": 8}),
        ("size", {"size": (8.0, 8)}),
        ("size", {"size": (True, 8)}),
        ("size", {"size": (2**31, 8)}),
        ("mean", {"mean": (0, 0)}),
        ("mean", {"mean": (0, 0, float("nan"))}),
        ("mean", {"mean": ("0", 0, 0)}),
        ("mean", {"mean": (1e39, 0, 0)}),
        ("std", {"std": (0, 1, 1)}),
        ("std", {"std": (-1, 1, 1)}),
        ("std", {"std": (float("inf"), 1, 1)}),
        ("std", {"std": (1e-39, 1, 1)}),
        ("format", {"format": "argb"}),
        ("format", {"format": None}),
        ("format", {"format": ["rgb"]}),
        ("image", {"format": "rgba"}),
        ("image", {"format": "gray"}),
        ("image", {"format": "gray", "image": IMAGE[0, 0]}),
        ("image", {"format": "gray", "image": np.zeros((0, 4), np.uint8)}),
        ("image", {"format": "gray", "image": np.broadcast_to(IMAGE[:1, :1, 0], (1, 2**31))}),
        ("rotation", {"rotation": 45}),
        ("rotation", {"rotation": -90}),
        ("rotation", {"rotation": 360}),
        ("rotation", {"rotation": 90.0}),
        ("mirror", {"mirror": 1}),
        ("mirror", {"mirror": None}),
        ("dtype", {"dtype": np.float64}),
        ("dtype", {"dtype": np.int16}),
        ("dtype", {"dtype": "nonsense"}),
        ("dtype", {"dtype": None}),
        ("scale", {"dtype": np.int8, "scale": 0.0}),
        ("scale", {"dtype": np.int8, "scale": -1.0}),
        ("scale", {"dtype": np.int8, "scale": float("nan")}),
        ("scale", {"dtype": np.int8, "scale": "1"}),
        ("zero_point", {"dtype": np.int8, "zero_point": 128}),
        ("zero_point", {"dtype": np.uint8, "zero_point": -1}),
        ("zero_point", {"dtype": np.uint8, "zero_point": 1.5}),
        ("out", {"out": np.zeros((8, 8, 3), np.float64)}),
        ("out", {"out": np.zeros((8, 7, 3), np.float32)}),
        ("out", {"out": np.zeros((8, 3, 8), np.float32).transpose(0, 2, 1)}),
        ("out", {"out": np.broadcast_to(np.float32(0), (8, 8, 3))}),
        ("out", {"out": [0.0]}),
        ("out", {"size": (4, 4), "dtype": np.uint8, "out": IMAGE}),
    ],
)
def test_bad_arguments_are_named(argument: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"image": IMAGE, "size": (8, 8), **changes}
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.letterbox(**arguments)


PLANE = np.zeros((5, 7), np.uint8)
HALF = np.zeros((3, 4), np.uint8)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("y", {"y": None}),
        ("y", {"y": PLANE.astype(np.int8)}),
        ("y", {"y": PLANE[..., None]}),
        ("y", {"y": PLANE[:0]}),
        ("y", {"y": np.broadcast_to(PLANE[:1, :1], (2**31, 1))}),
        ("u", {"u": HALF[:2]}),
        ("u", {"u": PLANE}),
        ("u", {"u": HALF.astype(np.float32)}),
        ("v", {"v": HALF[:, :3]}),
        ("v", {"v": [[0]]}),
        ("size", {"size": (0, 8)}),
        ("yuv", {"yuv": "bt709"}),
        ("yuv", {"yuv": None}),
        ("rotation", {"rotation": 1}),
        ("mirror", {"mirror": "no"}),
        ("dtype", {"dtype": np.int16}),
        ("out", {"out": np.zeros((8, 8), np.float32)}),
    ],
)
def test_bad_yuv_arguments_are_named(argument: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"y": PLANE, "u": HALF, "v": HALF, "size": (8, 8), **changes}
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.letterbox_yuv(**arguments)


def test_out_must_not_be_a_plane() -> None:
    out = np.zeros((8, 8, 3), np.uint8)
    planes = {"y": PLANE, "u": HALF, "v": HALF}
    for name in ("y", "u", "v"):
        given = {**planes, name: out[: planes[name].shape[0], : planes[name].shape[1], 0]}
        with pytest.raises(InvalidInputError, match=f"^out must not share memory with {name}"):
            ops.letterbox_yuv(given["y"], given["u"], given["v"], (8, 8), dtype=np.uint8, out=out)


@pytest.mark.parametrize(
    ("argument", "buffer", "size"),
    [
        ("size", np.zeros(6, np.uint8), (2, 0)),
        ("size", np.zeros(6, np.uint8), (2**31, 2)),
        ("buffer", np.zeros(6, np.uint8), (2, 3)),
        ("buffer", np.zeros(6, np.int8), (2, 2)),
        ("buffer", np.zeros(12, np.uint8)[::2], (2, 2)),
        ("buffer", bytes(6), (2, 2)),
    ],
)
def test_bad_nv21_arguments_are_named(argument: str, buffer: Any, size: Any) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.nv21_planes(buffer, size)
