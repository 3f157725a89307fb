from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

def isa() -> str: ...
def isas() -> list[str]: ...
def weighted_fusion(
    inputs: list[npt.NDArray[Any]],
    resampling: list[tuple[tuple[int, int], tuple[int, int]]],
    weights: list[float],
    epsilon: float,
    activation: str,
    quantization: list[tuple[float, int]],
    out_quantization: tuple[float, int],
    out: npt.NDArray[Any],
) -> None: ...
def letterbox(
    planes: Sequence[npt.NDArray[np.uint8]],
    image_format: str,
    out: npt.NDArray[Any],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    scale: float,
    zero_point: int,
    rotation: int,
    mirror: bool,
) -> float: ...
def decode(
    codes: npt.NDArray[np.float32], anchors: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]: ...
def nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    class_ids: npt.NDArray[np.int64] | None,
    iou_threshold: float,
    score_threshold: float,
    max_detections: int,
) -> npt.NDArray[np.int64]: ...
def soft_nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    class_ids: npt.NDArray[np.int64] | None,
    gaussian: bool,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    max_detections: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]: ...
def postprocess(
    class_maps: list[npt.NDArray[Any]],
    box_maps: list[npt.NDArray[Any]],
    class_quantization: list[tuple[float, int]],
    box_quantization: list[tuple[float, int]],
    grids: Sequence[tuple[int, int, float, float]],
    anchor_sizes: list[npt.NDArray[np.float32]],
    num_classes: int,
    conf: float,
    iou: float,
    max_det: int,
    ratio: float,
    image_height: float,
    image_width: float,
    nms: str,
    agnostic: bool,
    sigma: float,
    chunk: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]: ...
