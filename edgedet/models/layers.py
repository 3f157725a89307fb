"""Layers that Keras does not have: weighted fusion, nearest up-sampling, stochastic depth."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from edgedet.models.graph import Tensor


@keras.saving.register_keras_serializable("edgedet")
class WeightedFusion(keras.layers.Layer):
    """Fast normalized fusion: `sum relu(w_i) x_i / (sum relu(w_j) + epsilon)`.

    EfficientDet (Tan et al. 2020), section 3.3; Eff-SpineNet (Du et al. 2020), Eq. 1.

    Inputs: a list of n tensors of one shape. Output: a tensor of that shape.
    """

    def __init__(self, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Create one weight per input, 1 at the start."""
        self.fusion = self.add_weight(
            shape=(len(input_shape),), initializer="ones", name="fusion_weights"
        )

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Return the weighted mean of the inputs."""
        weights = ops.relu(self.fusion)
        weights = ops.cast(weights / (ops.sum(weights) + self.epsilon), inputs[0].dtype)
        fused = weights[0] * inputs[0]
        for index in range(1, len(inputs)):
            fused = fused + weights[index] * inputs[index]
        return fused

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """The shape of any one input."""
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("edgedet")
class NearestUpsampling(keras.layers.Layer):
    """Repeat every row and column `factor` times.

    The same function as Keras's `UpSampling2D`, which repeats by shapes known at run time only
    and so leaves six operators in an exported graph where this one leaves one.

    Input: [batch, rows, columns, channels], rows and columns known. Output:
    [batch, rows * factor, columns * factor, channels].
    """

    def __init__(self, factor: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs: Tensor) -> Tensor:
        """Return the enlarged map."""
        _, rows, columns, _ = self.compute_output_shape(tuple(inputs.shape))
        return ops.image.resize(
            inputs, (rows, columns), interpolation="nearest", data_format="channels_last"
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape with rows and columns multiplied."""
        batch, rows, columns, channels = input_shape
        if rows is None or columns is None:
            raise ValueError(f"{self.name} needs maps of a known size, not {input_shape}")
        return batch, rows * self.factor, columns * self.factor, channels

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("edgedet")
class StochasticDepth(keras.layers.Layer):
    """Drop a residual branch per example while training (Huang et al. 2016)."""

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the input, or zeros for a `rate` of the examples and the rest scaled up."""
        if not training or self.rate == 0:
            return inputs
        keep = 1.0 - self.rate
        shape = (ops.shape(inputs)[0], 1, 1, 1)
        kept = keras.random.uniform(shape, seed=self.generator) < keep
        return inputs * ops.cast(kept, inputs.dtype) / keep

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
