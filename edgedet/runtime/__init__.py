"""Detectors that run a model file on images, with no training framework."""
