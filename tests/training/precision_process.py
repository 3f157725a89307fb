"""Precision and rematerialization under JAX, in a process of its own: precision_process.py OUT.

Run by `test_precision.py`, which tells what the figures left in OUT must be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from distributed_process import OPTIONS, local_batch, small_network, spec

from edgedet.training.optimizers import compiled
from edgedet.training.remat import Rematerialized
from edgedet.training.stepping import Stepper

STEPS = 12
ADAMW = {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1, "clip_norm": 1.0}


def main(words: Sequence[str]) -> None:
    """Write the figures to OUT."""
    # Keras would import it only to seed it too.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    figures = {
        "float32": losses("float32"),
        "bfloat16": losses("mixed_bfloat16"),
        "float16": losses("mixed_float16"),
        "accumulated": accumulated(),
        "overflow": overflow(),
        "rematerialized": rematerialized(),
    }
    Path(words[0]).write_text(json.dumps(figures), encoding="utf-8")


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Build under a policy."""
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def fresh(precision: str, **options: Any) -> Any:
    """A compiled learner without random layers, the same each time."""
    keras.utils.set_random_seed(7)
    with policy(precision):
        network = small_network(spec(), drop_rate=0.0)
        changed = replace(OPTIONS, **options)
        learner = compiled(network, spec(), changed, 20 * changed.accumulate)
    if precision == "mixed_float16":
        # From the usual start the first steps would overflow, and be left out.
        learner.optimizer.dynamic_scale.assign(2.0**8)
    return learner


def losses(precision: str) -> dict[str, Any]:
    """The loss of some steps, and the kinds of the learner's variables."""
    learner = fresh(precision)
    stepper = Stepper(learner)
    found = [float(stepper.step(*local_batch(0))["detection_loss"]) for _ in range(STEPS)]
    stepper.sync()
    variables = [*learner.variables, *learner.optimizer.variables]
    kinds = {str(variable.value.dtype) for variable in variables}
    scales = isinstance(learner.optimizer, keras.optimizers.LossScaleOptimizer)
    return {"losses": found, "kinds": sorted(kinds), "scales": scales}


def accumulated() -> dict[str, Any]:
    """How far two steps of each batch, accumulated, lead from one step of it, in float16.

    The decay, the clipping, the momentum and the schedule must see one update.
    """
    updates, weights = [], []
    for accumulate in (1, 2):
        # The penalty of SGD is part of the gradient: AdamW's decay is the optimizer's own.
        learner = fresh("mixed_float16", accumulate=accumulate, **ADAMW)
        stepper = Stepper(learner)
        for step in range(4):
            for _ in range(accumulate):
                stepper.step(*local_batch(step))
        stepper.sync()
        updates.append(int(learner.optimizer.iterations))
        weights.append(fetched(learner.network.trainable_weights))
    return {"updates": updates, "apart": apart(*weights)}


def overflow() -> dict[str, Any]:
    """What a step does whose scaled gradients overflow, with one of two already accumulated."""
    learner = fresh("mixed_float16", accumulate=2)
    stepper = Stepper(learner)
    for step in range(3):
        stepper.step(*local_batch(step))
    stepper.sync()
    trained = learner.network.trainable_weights
    inner = learner.optimizer.inner_optimizer.variables
    learner.optimizer.dynamic_scale.assign(2.0**20)
    before = fetched([*trained, *inner])
    told = float(stepper.step(*local_batch(3))["detection_loss"])
    stepper.sync()
    after = fetched([*trained, *inner])
    scale = float(learner.optimizer.dynamic_scale)
    # Half the scale each time, until the gradients fit.
    for step in range(14):
        stepper.step(*local_batch(step))
    stepper.sync()
    return {
        "loss": told,
        "same": all(map(np.array_equal, before, after)),
        "scale": scale,
        "scale_at_last": float(learner.optimizer.dynamic_scale),
        "finite": all(bool(np.isfinite(value).all()) for value in fetched(learner.variables)),
        "moved": not any(map(np.array_equal, before[: len(trained)], fetched(trained))),
    }


def rematerialized() -> dict[str, Any]:
    """The difference that keeping little makes: to numbers, and to what is kept, in bytes."""
    import jax

    found: dict[str, Any] = {}
    results = []
    calls: dict[str, Callable[..., Any]] = {
        "kept": lambda network, images: network(images, training=True),
        "anew": lambda network, images: Rematerialized(network, 4)(images),
    }
    images = local_batch(0)[0].astype(np.float32) / 255
    for name, call in calls.items():
        keras.utils.set_random_seed(7)
        network = small_network(spec())
        trained, other = network.trainable_variables, network.non_trainable_variables

        def loss(values: Any, states: Any, call: Any = call, network: Any = network) -> Any:
            pairs = zip(
                [*network.trainable_variables, *network.non_trainable_variables],
                [*values, *states],
                strict=True,
            )
            with keras.StatelessScope(state_mapping=list(pairs)) as scope:
                outputs = call(network, images)
            total = sum(jax.numpy.square(output).sum() for output in outputs.values())
            return total, [scope.get_current_value(v) for v in network.non_trainable_variables]

        start = ([v.value for v in trained], [v.value for v in other])
        (total, states), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(*start)
        results.append(fetched([total, *states, *gradients]))

        def backward(values: Any, states: Any = start[1], loss: Any = loss) -> Any:
            return jax.vjp(lambda values: loss(values, states)[0], values)[1]

        kept = jax.tree.leaves(jax.eval_shape(backward, start[0]))
        found[name] = sum(array.size * array.dtype.itemsize for array in kept)
    return {**found, "apart": apart(*results)}


def fetched(values: Sequence[Any]) -> list[np.ndarray]:
    """Copies, which a later step leaves alone."""
    return [np.array(keras.ops.convert_to_numpy(value), np.float64) for value in values]


def apart(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    """The largest difference, each array's relative to its largest value."""
    return max(
        float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12))
        for a, b in zip(before, after, strict=True)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
