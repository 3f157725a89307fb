"""The optimizer of a run and the learner that is compiled with it."""

from __future__ import annotations

from typing import Any

import keras

from edgedet.spec import ModelSpec
from edgedet.training.learner import DetectionLearner, is_decayed
from edgedet.training.options import TrainingOptions
from edgedet.training.schedules import schedule

SHORT_RUN_AVERAGE = 20.0
"""The average of a short run spans at most one part in this of its updates."""


def optimizer(
    options: TrainingOptions, network: keras.Model, *, batch_size: int, steps: int
) -> keras.optimizers.Optimizer:
    """SGD or AdamW as the options say, built for the variables of `network`.

    Keras's own `SGD(weight_decay=...)` decays weights apart from the momentum, a tenth of what the
    papers' penalty does in the long run: with SGD the learner adds the penalty to the loss.

    Args:
        options: how to train.
        network: whose trainable variables it changes.
        batch_size: examples per step.
        steps: per epoch.
    """
    common: dict[str, Any] = {
        "learning_rate": schedule(options, batch_size=batch_size, steps=steps),
        "global_clipnorm": options.clip_norm or None,
        "gradient_accumulation_steps": options.accumulate if options.accumulate > 1 else None,
    }
    if options.optimizer == "sgd":
        made = keras.optimizers.SGD(momentum=options.momentum, **common)
    else:
        made = keras.optimizers.AdamW(weight_decay=options.weight_decay, **common)
        made.exclude_from_weight_decay(
            var_list=[v for v in network.trainable_variables if not is_decayed(v)]
        )
    return made


def compiled(
    network: keras.Model,
    spec: ModelSpec,
    options: TrainingOptions,
    steps: int,
    *,
    batch_size: int | None = None,
) -> DetectionLearner:
    """The learner of `network` with its optimizer and schedule, for `steps` per epoch.

    Under a float16 policy the optimizer scales the loss and leaves out steps that overflow.

    Args:
        network: from `edgedet.models.build`.
        spec: its spec.
        options: how to train.
        steps: per epoch.
        batch_size: examples per step; `options.batch_size` by default.
    """
    updates = max(1.0, steps * options.epochs / options.accumulate)
    decay = min(options.average_decay, 1.0 - SHORT_RUN_AVERAGE / max(SHORT_RUN_AVERAGE, updates))
    # The average moves at every step, the weights at every `accumulate`-th.
    decay **= 1.0 / options.accumulate
    learner = DetectionLearner(network, spec, options, average_decay=decay)
    learner.compile(
        optimizer=optimizer(
            options, network, batch_size=batch_size or options.batch_size, steps=steps
        ),
        # XLA on the CPU runs depthwise gradients several times slower than TensorFlow's kernels.
        jit_compile=keras.backend.backend() == "jax",
    )
    learner.optimizer.build(learner.trainable_variables)
    return learner
