"""Training steps one after another, on whatever backend and however many devices."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

Batch = tuple[np.ndarray, dict[str, np.ndarray]]


class Stepper:
    """Runs a compiled learner's training step, without waiting for its result.

    Under JAX a step is only started: what `step` returns are promises, and the program goes on to
    read the next pictures while the device computes. `float` of one waits for it. Between steps the
    weights are held here; the learner's variables have them after `sync`, which keeps them valid
    until the next step.

    Args:
        learner: compiled, its optimizer built.
    """

    def __init__(self, learner: keras.Model) -> None:
        self._learner = learner
        self._under_jax = keras.backend.backend() == "jax"
        self._state: Any = None
        self._compiled: Any = None
        self._sharding = _batch_sharding() if self._under_jax else None

    def step(self, images: np.ndarray, targets: dict[str, np.ndarray]) -> dict[str, Any]:
        """Take one step; with several hosts, all take it, each with its part of the batch.

        Args:
            images: [B, H, W, 3], B this host's part of the global batch.
            targets: arrays [B, ...].

        Returns:
            The learner's metrics, scalars, of the global batch.
        """
        if not self._under_jax:
            logs: dict[str, Any] = self._learner.train_on_batch(images, targets, return_dict=True)
            return logs
        if self._compiled is None:
            self._compile()
        if self._state is None:
            self._state = tuple([v.value for v in group] for group in self._groups())
        logs, self._state = self._compiled(self._state, self.placed((images, targets)))
        return logs

    def sync(self) -> None:
        """Bring the learner's variables up to date, to read, save or change them."""
        if self._state is None:
            return
        for group, values in zip(self._groups(), self._state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        self._state = None

    def _groups(self) -> tuple[list[Any], ...]:
        """The variables as `train_step` takes their values under JAX."""
        learner = self._learner
        return (
            learner.trainable_variables,
            learner.non_trainable_variables,
            learner.optimizer.variables,
            learner.metrics_variables,
        )

    def _compile(self) -> None:
        import jax

        # Its network has all the weights; only the flag is missing that a first call would set.
        self._learner.built = True
        shardings = None
        if self._sharding is not None:
            # Left open, XLA might split a variable over the devices.
            shardings = (
                None,
                tuple([v.value.sharding for v in group] for group in self._groups()),
            )
        # The old weights' memory takes the new ones.
        self._compiled = jax.jit(
            self._learner.train_step, donate_argnums=0, out_shardings=shardings
        )

    def placed(self, batch: Batch) -> Any:
        """The batch on its devices: of a host's part, each of its devices gets an equal share."""
        import jax

        if self._sharding is None:
            return jax.device_put(batch)
        return jax.tree.map(
            lambda part: jax.make_array_from_process_local_data(self._sharding, part), batch
        )


def _batch_sharding() -> Any:
    """How the examples of a batch lie on the devices; None on a single one."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return None
    import jax

    return jax.sharding.NamedSharding(
        distribution.device_mesh.backend_mesh,
        jax.sharding.PartitionSpec(distribution.batch_dim_name),
    )
