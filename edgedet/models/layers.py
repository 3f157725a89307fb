"""Layers that Keras does not have: weighted fusion, nearest up-sampling, stochastic depth."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from edgedet.models.graph import Tensor


@keras.saving.register_keras_serializable("edgedet")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization, trained by one fused operation under TensorFlow.

    Keras composes the training step of elementwise operations, which take longer than all
    convolutions of a mobile network together; the fused one gives the same numbers.

    Input and output: [batch, rows, columns, channels], or as in Keras.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor = None) -> Tensor:
        """Normalize by the batch's statistics while training, by the moving ones otherwise."""
        fusible = (
            training
            and self.trainable
            and mask is None
            and keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and not (self.synchronized or self.renorm)
        )
        if not fusible:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.cast(self.gamma, "float32"),
            offset=ops.cast(self.beta, "float32"),
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The fused variance is the unbiased estimate; Keras averages the biased one.
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], "float32")
        variance = variance * (tf.maximum(count - 1.0, 1.0) / count)
        for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + current * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable("edgedet")
class WeightedFusion(keras.layers.Layer):
    """Weighted mean of maps, its weights learned (EfficientDet, Tan et al. 2020, section 3.3).

    Inputs: a list of n tensors of one shape. Output: a tensor of that shape.

    Args:
        epsilon: keeps the sum of the weights off zero; Eff-SpineNet's is 1e-3, EfficientDet's 1e-4.
        method: "fast" normalized fusion, `sum relu(w_i) x_i / (sum relu(w_j) + epsilon)`
            (also Eff-SpineNet, Du et al. 2020, Eq. 1), or "softmax" of the weights.
    """

    def __init__(self, epsilon: float = 1e-3, method: str = "fast", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if method not in ("fast", "softmax"):
            raise ValueError(f"method must be fast or softmax, not {method!r}")
        self.epsilon = epsilon
        self.method = method

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Create one weight per input, 1 at the start."""
        self.fusion = self.add_weight(
            shape=(len(input_shape),), initializer="ones", name="fusion_weights"
        )

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Return the weighted mean of the inputs."""
        if self.method == "softmax":
            weights = ops.softmax(ops.cast(self.fusion, "float32"))
        else:
            weights = ops.relu(self.fusion)
            weights = weights / (ops.sum(weights) + self.epsilon)
        weights = ops.cast(weights, inputs[0].dtype)
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
        return {**super().get_config(), "epsilon": self.epsilon, "method": self.method}


@keras.saving.register_keras_serializable("edgedet")
class NearestUpsampling(keras.layers.Layer):
    """Repeat every row and column `factor` times, and cut the result to `size`.

    The same function as Keras's `UpSampling2D`, which repeats by shapes known at run time only
    and so leaves six operators in an exported graph where this one leaves one.

    Input: [batch, rows, columns, channels], rows and columns known. Output:
    [batch, rows * factor, columns * factor, channels], or `size` of it from the top left.

    Args:
        factor: repetitions.
        size: (rows, columns) to keep; all by default.
    """

    def __init__(self, factor: int, size: tuple[int, int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.size = None if size is None else (int(size[0]), int(size[1]))

    def call(self, inputs: Tensor) -> Tensor:
        """Return the enlarged map."""
        rows, columns = self._enlarged(tuple(inputs.shape))
        enlarged = ops.image.resize(
            inputs, (rows, columns), interpolation="nearest", data_format="channels_last"
        )
        kept = self.size or (rows, columns)
        return enlarged if kept == (rows, columns) else enlarged[:, : kept[0], : kept[1], :]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape with rows and columns multiplied, or cut to `size`."""
        rows, columns = self.size or self._enlarged(input_shape)
        return input_shape[0], rows, columns, input_shape[3]

    def _enlarged(self, shape: tuple[int | None, ...]) -> tuple[int, int]:
        _, rows, columns, _ = shape
        if rows is None or columns is None:
            raise ValueError(f"{self.name} needs maps of a known size, not {shape}")
        return rows * self.factor, columns * self.factor

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "factor": self.factor, "size": self.size}


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
