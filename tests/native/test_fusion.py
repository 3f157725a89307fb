"""The native fusion against the NumPy reference, and its promises one by one."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import ops, reference
from edgedet.errors import InvalidInputError

ACTIVATIONS = ["none", "relu", "relu6", "swish", "hard_swish"]
LIMITS = np.array([np.inf, -np.inf, 3e38, -3e38, 1e-42, -0.0], np.float32)


def steps_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance in float32 steps."""

    def place(values: np.ndarray) -> np.ndarray:
        bits = values.view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(2**31) - bits, bits)

    return np.abs(place(a) - place(b))


def random_map(random: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if dtype == np.int8:
        return random.integers(-128, 128, shape, dtype=np.int8)
    values = random.normal(0, 3, shape).astype(np.float32)
    odd = random.random(shape) < 0.02
    values[odd] = random.choice(LIMITS, int(odd.sum()))
    return values


def drawn_side(data: st.DataObject, target: int) -> int:
    """A side that can be brought to `target`."""
    step = data.draw(st.sampled_from([-3, -2, -1, 0, 0, 1, 2]), label="levels apart")
    if step > 0:
        side = target
        for _ in range(step):
            side = 2 * side - data.draw(st.integers(0, 1), label="odd")
        return side
    if step == -3:
        return 1
    return -(-target // 2**-step)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_equals_the_reference(seed: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from([np.float32, np.int8]), label="dtype")
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    channels = data.draw(st.sampled_from([1, 2, 3, 5, 8, 16, 19, 64]), label="channels")
    shapes = [(height, width, channels)] + [
        (drawn_side(data, height), drawn_side(data, width), channels)
        for _ in range(data.draw(st.integers(0, 4), label="further inputs"))
    ]
    inputs = [random_map(random, shape, dtype) for shape in shapes]
    form = data.draw(st.sampled_from(["plain", "batch", "strided"]), label="form")
    if form == "batch":
        inputs = [values[None] for values in inputs]
    elif form == "strided":
        inputs = [np.repeat(values, 2, axis=1)[:, ::2] for values in inputs]
    activation = data.draw(st.sampled_from(ACTIVATIONS), label="activation")
    options: dict[str, Any] = {
        "epsilon": data.draw(st.sampled_from([1e-4, 1e-3, 0.5]), label="epsilon"),
        "activation": activation,
    }
    if dtype == np.int8:
        options["quantization"] = [
            (float(random.uniform(0.001, 0.2)), int(random.integers(-128, 128))) for _ in inputs
        ]
        options["out_quantization"] = (
            data.draw(st.sampled_from([1e-3, 0.03, 0.5]), label="scale"),
            data.draw(st.integers(-128, 127), label="zero point"),
        )
    weights = random.normal(1, 1, len(inputs)).astype(np.float32)
    expected = reference.weighted_fusion(inputs, weights, **options)
    found = ops.weighted_fusion(inputs, weights, **options)
    assert found.dtype == dtype
    assert found.shape == inputs[0].shape
    if activation != "swish":
        np.testing.assert_array_equal(found, expected)
    elif dtype == np.int8:
        assert np.abs(found.astype(int) - expected).max() <= 1
    else:
        options["activation"] = "none"
        argument = reference.weighted_fusion(inputs, weights, **options)
        near = np.isfinite(expected) & (argument >= -87)
        assert steps_apart(found[near], expected[near]).max(initial=0) <= 2
        np.testing.assert_array_equal(
            found[~np.isfinite(expected)], expected[~np.isfinite(expected)]
        )
        np.testing.assert_allclose(found[argument < -87], 0, atol=1e-35)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_agrees_with_the_networks_layers(activation: str) -> None:
    """Keras's own resize, pooling and fusion layers, in a graph of one node."""
    keras = pytest.importorskip("keras")
    from edgedet.models.layers import NearestUpsampling, WeightedFusion

    shapes = [(10, 7, 12), (5, 4, 12), (19, 14, 12)]
    tensors = [keras.Input(shape) for shape in shapes]
    coarse = NearestUpsampling(2, size=(10, 7))(tensors[1])
    fine = keras.layers.MaxPooling2D(3, strides=2, padding="same")(tensors[2])
    fused = WeightedFusion(epsilon=1e-4, name="fusion")([tensors[0], coarse, fine])
    function = {"none": "linear"}.get(activation, activation)
    model = keras.Model(tensors, keras.layers.Activation(function)(fused))
    weights = np.array([0.7, -0.2, 1.9], np.float32)
    model.get_layer("fusion").set_weights([weights])
    random = np.random.default_rng(0)
    inputs = [random.normal(0, 3, (1, *shape)).astype(np.float32) for shape in shapes]
    expected = keras.ops.convert_to_numpy(model(inputs, training=False))
    found = ops.weighted_fusion(inputs, weights, activation=activation)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_swish_is_within_two_steps() -> None:
    argument = np.concatenate(
        [
            np.linspace(-87, 100, 200_001),
            np.geomspace(1e-38, 1, 5000),
            -np.geomspace(1e-38, 1, 5000),
        ]
    ).astype(np.float32)
    found = ops.weighted_fusion(
        [argument.reshape(1, 1, -1)], [1.0], epsilon=0.0, activation="swish"
    ).ravel()
    wide = argument.astype(np.float64)
    expected = (wide / (1 + np.exp(-wide))).astype(np.float32)
    assert steps_apart(found, expected).max() <= 2


def test_nan_stays_where_it_is() -> None:
    first = np.zeros((4, 4, 3), np.float32)
    first[1, 2, 0] = np.nan
    found = ops.weighted_fusion([first, np.ones((2, 2, 3), np.float32)], [1, 1])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(first))


def test_no_copy_of_an_input_is_made() -> None:
    inputs = [np.ones((128, 128, 32), np.float32), np.ones((64, 64, 32), np.float32)]
    ops.weighted_fusion(inputs, [1, 1])
    tracemalloc.start()
    found = ops.weighted_fusion(inputs, [1, 1])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < found.nbytes + 50_000


def test_threads_do_not_disturb_each_other() -> None:
    random = np.random.default_rng(0)
    inputs = [
        [random.normal(size=(16, 16, c)).astype(np.float32), np.ones((32, 8, c), np.float32)]
        for c in range(1, 9)
    ]
    expected = [reference.weighted_fusion(maps, [1, 2]) for maps in inputs]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(ops.weighted_fusion, inputs[i % 8], [1, 2]) for i in range(200)]
        for i, job in enumerate(jobs):
            np.testing.assert_array_equal(job.result(), expected[i % 8])


MAP = np.zeros((4, 4, 3), np.float32)
SMALL = np.zeros((4, 4, 3), np.int8)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("inputs", {"inputs": MAP}),
        ("inputs", {"inputs": []}),
        ("inputs", {"inputs": [MAP] * 17, "weights": [1] * 17}),
        (r"inputs\[1\]", {"inputs": [MAP, None]}),
        (r"inputs\[1\]", {"inputs": [MAP, MAP.astype(np.float64)]}),
        (r"inputs\[1\]", {"inputs": [MAP, MAP.astype(">f4")]}),
        (r"inputs\[1\]", {"inputs": [MAP, SMALL]}),
        (r"inputs\[1\]", {"inputs": [MAP, MAP[0]]}),
        (r"inputs\[1\]", {"inputs": [MAP, MAP[..., :2]]}),
        (r"inputs\[1\]", {"inputs": [MAP, MAP[:0]]}),
        (r"inputs\[1\]", {"inputs": [MAP, MAP[:3]]}),
        (r"inputs\[1\]", {"inputs": [MAP, np.zeros((5, 4, 3), np.float32)]}),
        (r"inputs\[1\]", {"inputs": [MAP, np.zeros((2, 4, 4, 3), np.float32)]}),
        (r"inputs\[1\]", {"inputs": [MAP, np.broadcast_to(MAP[:1, :1], (2**31, 4, 3))]}),
        (r"inputs\[0\]", {"inputs": [np.broadcast_to(MAP[:1, :1], (2**20, 2**20, 3)), MAP]}),
        ("weights", {"weights": [1.0]}),
        ("weights", {"weights": 1.0}),
        ("weights", {"weights": np.ones((2, 1), np.float32)}),
        (r"weights\[1\]", {"weights": [1.0, float("nan")]}),
        (r"weights\[0\]", {"weights": [1e39, 1.0]}),
        (r"weights\[0\]", {"weights": ["1", 1.0]}),
        ("weights", {"weights": [-1.0, 0.0], "epsilon": 0.0}),
        ("weights", {"weights": [1e-44, 0.0], "epsilon": 0.0}),
        ("epsilon", {"epsilon": -1e-4}),
        ("epsilon", {"epsilon": 1.5}),
        ("epsilon", {"epsilon": float("nan")}),
        ("epsilon", {"epsilon": None}),
        ("activation", {"activation": "gelu"}),
        ("activation", {"activation": None}),
        ("quantization", {"inputs": [SMALL] * 2, "out_quantization": (1.0, 0)}),
        ("quantization", {"inputs": [SMALL] * 2, "quantization": [(1.0, 0)]}),
        (r"quantization\[1\]", {"inputs": [SMALL] * 2, "quantization": [(1.0, 0), (0.0, 0)]}),
        (r"quantization\[1\]", {"inputs": [SMALL] * 2, "quantization": [(1.0, 0), (1.0, 128)]}),
        (r"quantization\[1\]", {"inputs": [SMALL] * 2, "quantization": [(1.0, 0), 1.0]}),
        ("out_quantization", {"inputs": [SMALL] * 2, "quantization": [(1.0, 0)] * 2}),
    ],
)
def test_bad_arguments_are_named(argument: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{argument} must"):
        ops.weighted_fusion(**{"inputs": [MAP, MAP], "weights": [1.0, 1.0], **changes})
