"""Training: target assignment, losses, averaged weights, the loop and its files."""

from edgedet.training.trainer import Reporter, TrainingOptions, train

__all__ = ["Reporter", "TrainingOptions", "train"]
