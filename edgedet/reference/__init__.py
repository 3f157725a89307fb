"""The functions of `edgedet.ops` in plain NumPy: slow, obvious, and what the kernels must equal."""

from edgedet.reference.letterboxing import letterbox
from edgedet.reference.postprocessing import decode, postprocess
from edgedet.reference.suppression import nms

__all__ = ["decode", "letterbox", "nms", "postprocess"]
