"""Calibration and quantization recipes, and what they cost in accuracy."""
