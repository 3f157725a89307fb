"""Keras 3 networks, built from a `ModelSpec`; backend-agnostic (TensorFlow, JAX, PyTorch)."""

from edgedet.models.network import build, count_macs
from edgedet.models.presets import Preset, preset, preset_spec, presets
from edgedet.models.saving import load_model, save_model

__all__ = [
    "Preset",
    "build",
    "count_macs",
    "load_model",
    "preset",
    "preset_spec",
    "presets",
    "save_model",
]
