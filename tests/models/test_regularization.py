"""DropBlock by its statistics; all layers of our own under mixed precision."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models.dropblock import DropBlock
from edgedet.models.layers import StochasticDepth, WeightedFusion

POLICIES = ("mixed_float16", "mixed_bfloat16")


def _dropped(layer: DropBlock, shape: tuple[int, ...]) -> np.ndarray:
    """Where a call on ones gives zero."""
    return np.asarray(layer(np.ones(shape, np.float32), training=True)) == 0


def _expected(rate: float, rows: int, columns: int, block: int) -> np.ndarray:
    """Chance of each place to be dropped, from the number of blocks that cover it."""
    places = (rows - block + 1, columns - block + 1)
    gamma = rate / block**2 * rows * columns / (places[0] * places[1])
    covering = np.zeros((rows, columns))
    for row in range(places[0]):
        for column in range(places[1]):
            covering[row : row + block, column : column + block] += 1
    return 1 - (1 - gamma) ** covering


@pytest.mark.parametrize(("rate", "block"), [(0.1, 3), (0.3, 3), (0.2, 1), (0.1, 2)])
def test_dropblock_drops_as_often_as_its_equation(rate: float, block: int) -> None:
    shape = (64, 9, 7, 32)
    dropped = _dropped(DropBlock(rate, block, seed=1), shape)
    expected = _expected(rate, 9, 7, block)
    maps = shape[0] * shape[3]
    # Five standard deviations of a mean over independent maps.
    np.testing.assert_allclose(
        dropped.mean(axis=(0, 3)), expected, atol=5 * (expected.max() / maps) ** 0.5
    )
    # Blocks that overlap leave a little less than the rate.
    assert 0.7 * rate < dropped.mean() <= 1.05 * rate


def test_dropped_features_form_whole_blocks() -> None:
    dropped = _dropped(DropBlock(0.15, seed=2), (4, 12, 10, 5))
    assert dropped.any()
    covered = np.zeros_like(dropped)
    for row in range(10):
        for column in range(8):
            whole = dropped[:, row : row + 3, column : column + 3].all(axis=(1, 2))
            covered[:, row : row + 3, column : column + 3] |= whole[:, None, None]
    np.testing.assert_array_equal(covered, dropped)


def test_every_channel_of_every_example_loses_its_own_blocks() -> None:
    dropped = _dropped(DropBlock(0.2, seed=3), (2, 16, 16, 2))
    masks = [dropped[example, ..., channel] for example in (0, 1) for channel in (0, 1)]
    assert len({mask.tobytes() for mask in masks}) == 4


def test_what_is_kept_is_scaled_by_the_part_kept_of_its_example() -> None:
    layer = DropBlock(0.3, seed=4)
    value = np.random.default_rng(0).uniform(1, 2, (8, 6, 6, 3)).astype(np.float32)
    output = np.asarray(layer(value, training=True))
    kept = output != 0
    part = kept.mean(axis=(1, 2, 3), keepdims=True)
    assert len(np.unique(part)) > 1
    np.testing.assert_allclose(output, np.where(kept, value / part, 0), rtol=1e-5)


def test_blocks_are_no_larger_than_the_map() -> None:
    dropped = _dropped(DropBlock(0.5, 3, seed=5), (4000, 1, 2, 1))
    # One block of 1x2 covers all: a map is dropped whole or not at all.
    np.testing.assert_array_equal(dropped[:, 0, 0], dropped[:, 0, 1])
    assert dropped.mean() == pytest.approx(0.5, abs=0.04)


def test_an_example_that_lost_all_is_zero_not_nan() -> None:
    output = np.asarray(
        DropBlock(0.9, 2, seed=6)(np.ones((50, 2, 2, 1), np.float32), training=True)
    )
    assert np.isfinite(output).all()
    assert (output == 0).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("layer", [DropBlock(0.5), DropBlock(0.0)], ids=["inference", "rate 0"])
def test_dropblock_leaves_its_input_alone(layer: DropBlock) -> None:
    value = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)
    training = layer.rate == 0
    np.testing.assert_array_equal(np.asarray(layer(value, training=training)), value)


def test_a_seed_repeats_the_blocks() -> None:
    shape = (2, 16, 16, 4)
    first = _dropped(DropBlock(0.2, seed=7), shape)
    np.testing.assert_array_equal(_dropped(DropBlock(0.2, seed=7), shape), first)
    assert (_dropped(DropBlock(0.2, seed=8), shape) != first).any()


def test_dropblock_comes_back_from_its_configuration() -> None:
    layer = DropBlock(0.25, block_size=5, seed=9, name="drop")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(again, DropBlock)
    assert (again.rate, again.block_size, again.seed, again.name) == (0.25, 5, 9, "drop")
    np.testing.assert_array_equal(_dropped(again, (2, 9, 9, 4)), _dropped(layer, (2, 9, 9, 4)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DropBlock(1.0), "rate must lie in 0 to 1"),
        (lambda: DropBlock(-0.1), "rate must lie in 0 to 1"),
        (lambda: DropBlock(0.1, 0), "need a positive size"),
        (lambda: DropBlock(0.1)(keras.Input((None, 8, 3))), "maps of a known size"),
    ],
)
def test_what_dropblock_can_not_do_is_refused(make: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        make()  # type: ignore[operator]


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> Iterator[keras.DTypePolicy]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield keras.config.dtype_policy()
    keras.config.set_dtype_policy(before)


def test_layers_compute_in_the_policys_type_and_keep_float32_weights(
    policy: keras.DTypePolicy,
) -> None:
    value = np.random.default_rng(0).normal(size=(64, 8, 8, 4)).astype(np.float32)
    tolerance = 5e-3 if policy.compute_dtype == "float16" else 4e-2

    fusion = WeightedFusion()
    fused = fusion([value, value + 1])
    assert keras.backend.standardize_dtype(fused.dtype) == policy.compute_dtype
    assert fusion.fusion.dtype == "float32"
    np.testing.assert_allclose(
        np.asarray(keras.ops.cast(fused, "float32")), (2 * value + 1) / 2.001, atol=tolerance
    )

    for layer in (DropBlock(0.25, seed=1), StochasticDepth(0.25, seed=1)):
        dropped = layer(value, training=True)
        assert keras.backend.standardize_dtype(dropped.dtype) == policy.compute_dtype
        output = np.asarray(keras.ops.cast(dropped, "float32"))
        kept = output != 0
        assert 0.5 < kept.mean() < 0.95
        part = kept.mean(axis=(1, 2, 3), keepdims=True)
        scale = 0.75 if isinstance(layer, StochasticDepth) else part
        np.testing.assert_allclose(
            output, np.where(kept, value / scale, 0), rtol=tolerance, atol=tolerance
        )


def test_layers_train_in_a_compiled_step(policy: keras.DTypePolicy) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 4))
    dropped = [DropBlock(0.2, seed=1)(image), StochasticDepth(0.2, seed=2)(image)]
    fusion = WeightedFusion()
    pooled = keras.layers.GlobalAveragePooling2D()(fusion(dropped))
    network = keras.Model(image, keras.layers.Dense(1, dtype="float32")(pooled))
    network.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=True)
    images = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype(np.float32)
    for _ in range(3):
        loss = network.train_on_batch(images, images.mean(axis=(1, 2, 3))[:, None])
        assert np.isfinite(loss)
    weights = np.asarray(fusion.fusion)
    assert np.isfinite(weights).all()
    assert (weights != 1).all()
