"""DropBlock (Ghiasi et al. 2018): dropout of square regions of a map."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from edgedet.errors import InvalidInputError
from edgedet.models.graph import Tensor


@keras.saving.register_keras_serializable("edgedet")
class DropBlock(keras.layers.Layer):
    """Zero square blocks of a map while training, in every channel others; scale up the rest.

    Ghiasi et al. 2018, Algorithm 1; NAS-FPN (Ghiasi et al. 2019, section 4.4) puts it after each
    normalization, with blocks of 3x3 and 10% dropped. Blocks lie wholly inside the map; in a map
    narrower than a block they are as wide as the map. What is kept is scaled by the part that was
    kept of each example, so that examples stay independent of each other. Since blocks may
    overlap, a little less than `rate` is dropped (Eq. 1 of the paper ignores that, and so does
    this layer).

    Input and output: [batch, rows, columns, channels], rows and columns known.

    Args:
        rate: part of the features to drop, from 0 to below 1: the paper's 1 - keep_prob.
        block_size: side of a block in features.
        seed: of the random generator.

    Raises:
        InvalidInputError: a rate or a block size out of range, or a map of unknown size.
    """

    def __init__(
        self, rate: float, block_size: int = 3, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise InvalidInputError(f"DropBlock's rate must lie in 0 to 1 (excluded), not {rate}.")
        if block_size < 1:
            raise InvalidInputError(f"DropBlock's blocks need a positive size, not {block_size}.")
        self.rate = rate
        self.block_size = block_size
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check that the map's size is known."""
        if None in input_shape[1:]:
            raise InvalidInputError(f"DropBlock needs maps of a known size, not {input_shape}.")

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the input, or while training the input without the dropped blocks."""
        if not training or self.rate == 0:
            return inputs
        _, rows, columns, channels = inputs.shape
        high, wide = min(self.block_size, rows), min(self.block_size, columns)
        # One draw for each place of a block's top left corner.
        corners = (rows - high + 1, columns - wide + 1)
        gamma = self.rate * (rows * columns) / (high * wide * corners[0] * corners[1])
        draws = keras.random.uniform(
            (ops.shape(inputs)[0], *corners, channels), seed=self.generator
        )
        dropped = ops.cast(draws < gamma, "float32")
        dropped = ops.pad(dropped, ((0, 0), (high - 1, high - 1), (wide - 1, wide - 1), (0, 0)))
        # The mask is float32 under mixed precision too: float16 can't count the features.
        dropped = ops.max_pool(
            dropped, (high, wide), strides=1, padding="valid", data_format="channels_last"
        )
        kept = 1.0 - dropped
        mean = ops.mean(kept, axis=(1, 2, 3), keepdims=True)
        # An example that lost everything stays zero.
        mask = kept / ops.maximum(mean, 1.0 / (rows * columns * channels))
        return inputs * ops.cast(mask, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "block_size": self.block_size,
            "seed": self.seed,
        }
