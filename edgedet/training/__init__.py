"""Training: target assignment, losses, averaged weights, the loop and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgedet.training.options import TrainingOptions

if TYPE_CHECKING:
    from edgedet.training.trainer import Execution, Reporter, train

__all__ = ["Execution", "Reporter", "TrainingOptions", "train"]


def __getattr__(name: str) -> Any:
    # Recipes can be read without the seconds that Keras takes to load.
    if name in __all__:
        from edgedet.training import trainer

        return getattr(trainer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
