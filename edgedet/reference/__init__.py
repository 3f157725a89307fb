"""The functions of `edgedet.ops` in plain NumPy: slow, obvious, and what the kernels must equal."""

from edgedet.reference.fusing import weighted_fusion
from edgedet.reference.letterboxing import letterbox, letterbox_yuv
from edgedet.reference.postprocessing import decode, postprocess
from edgedet.reference.suppression import nms, soft_nms

__all__ = [
    "decode",
    "letterbox",
    "letterbox_yuv",
    "nms",
    "postprocess",
    "soft_nms",
    "weighted_fusion",
]
