"""Pre- and post-processing kernels for NumPy arrays: letterbox, box decoding, NMS, postprocess.

They run native code with the interpreter lock released and keep no state, so that threads may call
them at once. `edgedet.reference` holds the same functions in plain NumPy.
"""

from edgedet.ops.instruction_set import isa
from edgedet.ops.letterboxing import MAX_IMAGE_SIDE, letterbox
from edgedet.ops.postprocessing import decode, postprocess
from edgedet.ops.suppression import nms

__all__ = ["MAX_IMAGE_SIDE", "decode", "isa", "letterbox", "nms", "postprocess"]
