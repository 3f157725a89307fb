"""Pre- and post-processing kernels for NumPy arrays: letterbox, box decoding, NMS, postprocess.

They run native code with the interpreter lock released and keep no state, so that threads may call
them at once. `edgedet.reference` holds the same functions in plain NumPy.
"""

from edgedet.ops.fusing import weighted_fusion
from edgedet.ops.instruction_set import isa
from edgedet.ops.letterboxing import MAX_IMAGE_SIDE, letterbox, letterbox_yuv, nv21_planes
from edgedet.ops.postprocessing import decode, postprocess
from edgedet.ops.suppression import nms, soft_nms

__all__ = [
    "MAX_IMAGE_SIDE",
    "decode",
    "isa",
    "letterbox",
    "letterbox_yuv",
    "nms",
    "nv21_planes",
    "postprocess",
    "soft_nms",
    "weighted_fusion",
]
