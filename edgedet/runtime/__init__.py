"""Detectors that run a model file on images, with no training framework."""

from edgedet.runtime.detections import Detections
from edgedet.runtime.detector import Detector

__all__ = ["Detections", "Detector"]
