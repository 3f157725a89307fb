"""Datasets, augmentation, input pipelines and synthetic data."""

from __future__ import annotations

from edgedet.data.dataset import DetectionDataset, Sample, load_dataset

__all__ = ["DetectionDataset", "Sample", "load_dataset"]
