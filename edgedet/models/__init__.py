"""Keras 3 networks, built from a `ModelSpec`; backend-agnostic (TensorFlow, JAX, PyTorch)."""

from edgedet.models.counting import Count, count, count_macs
from edgedet.models.network import at_exit, build
from edgedet.models.presets import (
    Preset,
    Published,
    configured,
    parse_name,
    preset,
    preset_spec,
    presets,
    scale,
)
from edgedet.models.saving import load_model, save_model

__all__ = [
    "Count",
    "Preset",
    "Published",
    "at_exit",
    "build",
    "configured",
    "count",
    "count_macs",
    "load_model",
    "parse_name",
    "preset",
    "preset_spec",
    "presets",
    "save_model",
    "scale",
]
