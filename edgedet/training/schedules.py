"""The learning rate over a run."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from edgedet.training.options import TrainingOptions

Tensor = Any

LONGEST_WARMUP = 0.2
"""Part of a run that the warm-up takes at most, so that short runs reach their rate."""


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from zero, then a cosine to zero or steps down.

    Args:
        peak: the rate after the warm-up.
        warmup: updates over which it rises.
        total: updates of the run.
        decay_at: parts of the run, rising, at which the rate changes; none for a cosine.
        decay_to: factor of the peak from each part on.
        every: steps that make one update; Keras asks with the number of the step.
    """

    def __init__(
        self,
        peak: float,
        warmup: int,
        total: int,
        decay_at: tuple[float, ...] = (),
        decay_to: tuple[float, ...] = (),
        every: int = 1,
    ) -> None:
        self.peak = peak
        self.warmup = warmup
        self.total = total
        self.decay_at = tuple(decay_at)
        self.decay_to = tuple(decay_to)
        self.every = every

    def __call__(self, step: Tensor) -> Tensor:
        """The rate at step `step`, from 0, as a tensor."""
        return self._rate(ops.cast(ops.floor_divide(step, self.every), "float32"), ops)

    def at(self, step: int) -> float:
        """The rate at step `step`, from 0."""
        return float(self._rate(np.float32(step // self.every), np))

    def get_config(self) -> dict[str, Any]:
        """What Keras saves."""
        return {
            "peak": self.peak,
            "warmup": self.warmup,
            "total": self.total,
            "decay_at": self.decay_at,
            "decay_to": self.decay_to,
            "every": self.every,
        }

    def _rate(self, update: Any, xp: Any) -> Any:
        """One formula for tensors and for numbers: `xp` is `keras.ops` or `numpy`."""
        # The first update has a rate already, else it would be lost.
        rate = xp.minimum(1.0, (update + 1.0) / max(1, self.warmup))
        if not self.decay_at:
            done = (update - self.warmup) / max(1, self.total - self.warmup)
            cosine = 0.5 * (1.0 + xp.cos(math.pi * xp.clip(done, 0.0, 1.0)))
            return self.peak * rate * cosine
        for part, factor in zip(self.decay_at, self.decay_to, strict=True):
            # A short run may come to a step before its warm-up is over.
            rate = xp.where(update >= part * self.total, xp.minimum(rate, factor), rate)
        return self.peak * rate


def schedule(options: TrainingOptions, *, batch_size: int, steps: int) -> Schedule:
    """The rate at each update of the weights.

    Args:
        options: how to train.
        batch_size: examples per step, which may be fewer than asked for.
        steps: per epoch; `options.accumulate` of them make one update.
    """
    total = max(1, steps * options.epochs // options.accumulate)
    warmup = round(options.warmup_epochs * steps / options.accumulate)
    warmup = min(warmup, int(LONGEST_WARMUP * total))
    peak = options.peak_rate(batch_size)
    stepped = options.schedule == "step"
    return Schedule(
        peak,
        warmup,
        total,
        options.decay_at if stepped else (),
        options.decay_to if stepped else (),
        options.accumulate,
    )
