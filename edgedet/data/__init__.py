"""Datasets, augmentation, input pipelines and synthetic data."""
