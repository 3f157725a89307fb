"""Training: target assignment, losses, averaged weights, the loop and its files."""

from edgedet.training.options import TrainingOptions
from edgedet.training.trainer import Execution, Reporter, train

__all__ = ["Execution", "Reporter", "TrainingOptions", "train"]
