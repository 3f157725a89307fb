"""Preparing a network for export changes its graph and not its outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from edgedet.converters.preparation import prepare_for_export  # noqa: E402
from edgedet.converters.preparation.fusion import ConstantFusion  # noqa: E402
from edgedet.models.counting import count  # noqa: E402
from edgedet.models.dropblock import DropBlock  # noqa: E402
from edgedet.models.layers import (  # noqa: E402
    BatchNormalization,
    NearestUpsampling,
    StochasticDepth,
    WeightedFusion,
)
from edgedet.models.network import build  # noqa: E402

layers = keras.layers


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    """In float64 what is left of a difference is the algebra's, not the rounding's."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def randomize(model: Any, rng: np.random.Generator) -> None:
    """Give normalizations statistics, and fusions weights, as training might leave them."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            scale = [rng.uniform(0.5, 1.5, shape)] if layer.scale else []
            center = [rng.uniform(-0.3, 0.3, shape)] if layer.center else []
            mean, variance = rng.uniform(-0.3, 0.3, shape), rng.uniform(0.5, 1.5, shape)
            layer.set_weights([*scale, *center, mean, variance])
        elif isinstance(layer, WeightedFusion):
            layer.set_weights([rng.uniform(-0.5, 2.0, layer.fusion.shape)])
        elif layer.weights:
            layer.set_weights([w + rng.normal(0, 0.1, w.shape) for w in layer.get_weights()])


def assert_same(model: Any, prepared: Any, rng: np.random.Generator) -> None:
    image = rng.uniform(-1, 1, (1, *model.inputs[0].shape[1:]))
    expected, found = model(image, training=False), prepared(image, training=False)
    assert found.keys() == expected.keys()
    assert model.layers[1].compute_dtype == prepared.layers[1].compute_dtype == "float64"
    # The softmax of fusions is computed in float32,
    softmax = any(getattr(layer, "method", "") == "softmax" for layer in model.layers)
    for name, value in expected.items():
        value = np.asarray(value)
        # and so are the predictors of the zoo's networks.
        allowed = 1e-5 if value.dtype == np.float32 else 1e-6 if softmax else 1e-10
        bound = allowed * max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(np.asarray(found[name]), value, rtol=0, atol=bound, err_msg=name)


def kinds(model: Any) -> Counter[str]:
    return Counter(layer.kind for layer in count(model).layers)


def prepared_from(outputs: Any, image: Any, seed: int = 0) -> tuple[Any, Any]:
    """A network of these outputs with random weights, and what it is prepared to."""
    rng = np.random.default_rng(seed)
    named = outputs if isinstance(outputs, dict) else {"out": outputs}
    model = keras.Model(image, named)
    randomize(model, rng)
    prepared = prepare_for_export(model)
    assert_same(model, prepared, rng)
    return model, prepared


def input_of(rows: int, columns: int, channels: int) -> Any:
    return keras.Input((rows, columns, channels), name="image")


def normalized(x: Any, channels: int = 4, **options: Any) -> Any:
    return BatchNormalization()(layers.Conv2D(channels, 1, **options)(x))


ZOO: list[tuple[str, dict[str, Any]]] = [
    ("eff-spinenet-m0", {}),
    ("efficientdet-d0", {}),
    ("mobilenetv2-nasfpnlite", {}),
    ("spinenet-mobile-49xs", {}),
]


@pytest.mark.parametrize(("name", "options"), ZOO)
def test_the_zoos_networks_compute_the_same(name: str, options: dict[str, Any]) -> None:
    keras.utils.set_random_seed(1)
    model = build(name, num_classes=2, size=128, batch_size=1, **options)
    rng = np.random.default_rng(1)
    randomize(model, rng)
    prepared = prepare_for_export(model)
    assert_same(model, prepared, rng)
    left = kinds(prepared)
    assert not left.keys() & {"BatchNormalization", "StochasticDepth", "WeightedFusion"}
    assert list(prepared.output) == list(model.output)


def random_network(rng: np.random.Generator) -> dict[str, Any]:
    """Outputs of a random graph of what the steps look for; the image is 8x8 of 3 channels."""
    image = input_of(8, 8, 3)
    shared = layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    maps = [normalized(image), normalized(image)]
    for _ in range(12):
        x = maps[rng.integers(len(maps))]
        alike = [y for y in maps if y.shape == x.shape]
        side = x.shape[1]
        choice = rng.integers(10)
        if choice <= 2 and len(alike) > 1:
            some = [alike[i] for i in rng.permutation(len(alike))[: rng.integers(2, 4)]]
            y = WeightedFusion(method=rng.choice(["fast", "softmax"]))(some)
        elif choice == 3 and side < 16:
            y = NearestUpsampling(2)(x)
        elif choice == 4 and side > 2:
            y = layers.MaxPooling2D(2)(x)
        elif choice == 5:
            y = layers.Activation(str(rng.choice(["relu", "relu6", "swish"])))(x)
        elif choice == 6:
            y = layers.Add()([x, normalized(x)])
        elif choice == 7:
            y = shared(x)
        elif choice == 8:
            y = layers.Conv2D(4, 3, padding="same")(x)
        else:
            y = normalized(x, use_bias=bool(rng.integers(2)))
        maps.append(y)
    return {"image": image, "outputs": {"last": maps[-1], "other": maps[rng.integers(len(maps))]}}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_random_networks_compute_the_same(seed: int) -> None:
    network = random_network(np.random.default_rng(seed))
    prepared_from(network["outputs"], network["image"], seed)


def test_a_shared_convolution_takes_each_places_normalization() -> None:
    image = input_of(4, 4, 3)
    shared = layers.Conv2D(5, 3, padding="same", name="shared")
    first = BatchNormalization(name="a_bn")(shared(image))
    second = BatchNormalization(name="b_bn")(shared(layers.MaxPooling2D(2)(image)))
    _, prepared = prepared_from({"a": first, "b": second}, image)
    assert {"a_bn", "b_bn"} <= {layer.name for layer in prepared.layers}
    assert kinds(prepared)["Conv2D"] == 2


def test_a_normalization_whose_convolution_others_read_stays() -> None:
    image = input_of(4, 4, 3)
    x = layers.Conv2D(3, 1)(image)
    outputs = layers.Add()([x, BatchNormalization(scale=False)(x)])
    _, prepared = prepared_from(outputs, image)
    assert kinds(prepared)["BatchNormalization"] == 1


def test_what_acts_in_training_only_is_left_out() -> None:
    image = input_of(6, 6, 3)
    x = DropBlock(0.1)(layers.Dropout(0.5)(StochasticDepth(0.2)(normalized(image))))
    _, prepared = prepared_from(layers.Activation("relu")(x), image)
    assert kinds(prepared) == {"Conv2D": 1, "Activation": 1}


def test_separable_convolutions_are_split() -> None:
    image = input_of(6, 6, 3)
    separable = layers.SeparableConv2D(
        5, 3, strides=2, padding="same", depth_multiplier=2, activation="relu"
    )
    model, prepared = prepared_from(separable(image), image)
    assert kinds(prepared) == {"DepthwiseConv2D": 1, "Conv2D": 1}
    assert count(prepared).multiply_adds == count(model).multiply_adds


def test_convolutions_and_activations_go_before_upsampling() -> None:
    image = input_of(4, 5, 3)
    x = NearestUpsampling(2, size=(7, 9))(NearestUpsampling(2)(layers.MaxPooling2D(2)(image)))
    x = BatchNormalization()(layers.Conv2D(4, 1, activation="tanh")(x))
    model, prepared = prepared_from(layers.Activation("swish")(x), image)
    # 2x2 pixels in place of 7x9.
    assert count(prepared).multiply_adds == 2 * 2 * 3 * 4 < count(model).multiply_adds
    assert prepared.output["out"].shape == model.output["out"].shape


def test_what_looks_at_more_than_a_pixel_stays_behind_upsampling() -> None:
    image = input_of(4, 4, 3)
    up = NearestUpsampling(2)
    for layer in (layers.Conv2D(3, 3), layers.Conv2D(3, 1, strides=2), layers.MaxPooling2D(2)):
        model, prepared = prepared_from(layer(up(image)), image)
        assert count(prepared).multiply_adds == count(model).multiply_adds


def factors_of(prepared: Any) -> list[float]:
    """The factors of fusions that are still multiplied."""
    fusions = [layer for layer in prepared.layers if isinstance(layer, ConstantFusion)]
    return [factor for fusion in fusions for factor in fusion.factors if factor != 1.0]


def fused(*maps: Any) -> Any:
    layer = WeightedFusion()
    out = layer(list(maps))
    return layer, out


PATHS: list[tuple[str, Callable[[Any], Any], bool]] = [
    ("a normalization", normalized, True),
    ("a bare convolution", lambda x: layers.Conv2D(4, 1, use_bias=False)(x), True),
    ("a rectifier", lambda x: layers.Activation("relu")(normalized(x)), True),
    ("a clipped rectifier", lambda x: layers.Activation("relu6")(normalized(x)), False),
    ("a swish", lambda x: layers.Activation("swish")(normalized(x)), False),
    ("up-sampling", lambda x: NearestUpsampling(2)(normalized(layers.MaxPooling2D(2)(x))), True),
    ("pooling", lambda x: layers.MaxPooling2D(3, 1, padding="same")(normalized(x)), True),
    ("a sum", lambda x: layers.Add()([normalized(x), normalized(x)]), True),
    ("the input", lambda x: x, False),
]


@pytest.mark.parametrize(("path", "absorbed"), [p[1:] for p in PATHS], ids=[p[0] for p in PATHS])
def test_a_fusion_weight_goes_back_to_a_convolution(
    path: Callable[[Any], Any], absorbed: bool
) -> None:
    image = input_of(4, 4, 4)
    fusion, x = fused(path(image), normalized(image))
    model = keras.Model(image, {"out": layers.Activation("swish")(x)})
    randomize(model, np.random.default_rng(3))
    fusion.set_weights([np.array([0.3, 1.1])])
    prepared = prepare_for_export(model)
    assert_same(model, prepared, np.random.default_rng(4))
    assert len(factors_of(prepared)) == (0 if absorbed else 1)


def test_other_readers_of_a_scaled_map_notice_nothing() -> None:
    image = input_of(4, 4, 4)
    x = layers.Conv2D(4, 1)(image)
    first, a = fused(x, normalized(image))
    second, b = fused(layers.MaxPooling2D(3, 1, padding="same")(x), normalized(image))
    c = layers.DepthwiseConv2D(3, padding="same")(x)
    model = keras.Model(image, {"a": a, "b": b, "c": c})
    randomize(model, np.random.default_rng(3))
    first.set_weights([np.array([0.3, 1.1])])
    second.set_weights([np.array([0.7, 0.2])])
    prepared = prepare_for_export(model)
    assert_same(model, prepared, np.random.default_rng(4))
    assert len(factors_of(prepared)) == 1


def test_of_two_fusions_the_larger_is_spared() -> None:
    image = input_of(4, 4, 4)
    x = normalized(image)
    small = WeightedFusion(name="small")([x, image])
    up = NearestUpsampling(2)
    large = WeightedFusion(name="large")([up(x), up(image)])
    model, prepared = prepared_from({"small": small, "large": large}, image, seed=2)
    assert min(weight.min() for layer in (model.get_layer("small"), model.get_layer("large"))
               for weight in layer.get_weights()) > 0  # fmt: skip
    assert 1.0 not in prepared.get_layer("small").factors
    assert prepared.get_layer("large").factors == [1.0, 1.0]


def test_an_upsampled_map_that_others_read_is_multiplied_at_the_fusion() -> None:
    image = input_of(4, 4, 4)
    up = NearestUpsampling(2)(image)
    _, z = fused(up, NearestUpsampling(2)(normalized(image)))
    _, prepared = prepared_from({"up": up, "z": z}, image, seed=2)
    assert len(factors_of(prepared)) == 1


def test_a_map_that_the_caller_or_a_sum_reads_is_not_scaled() -> None:
    image = input_of(4, 4, 4)
    x, y = normalized(image), normalized(image)
    _, z = fused(x, y)
    _, prepared = prepared_from({"x": x, "sum": layers.Add()([y, image]), "z": z}, image, seed=5)
    assert len(factors_of(prepared)) == 2


def test_branches_without_weight_are_cut() -> None:
    image = input_of(4, 4, 4)
    fusion, x = fused(layers.Activation("swish")(image), normalized(normalized(image)), image)
    model = keras.Model(image, {"out": x})
    fusion.set_weights([np.array([1.0, -0.5, 2.0])])
    prepared = prepare_for_export(model)
    assert_same(model, prepared, np.random.default_rng(0))
    assert kinds(prepared) == {"Activation": 1, "ConstantFusion": 1}
    fusion.set_weights([np.array([-1.0, -0.5, 0.0])])
    assert_same(model, prepare_for_export(model), np.random.default_rng(0))
    # A single input whose weight is absorbed needs no sum.
    fusion.set_weights([np.array([-1.0, 0.5, 0.0])])
    prepared = prepare_for_export(model)
    assert_same(model, prepared, np.random.default_rng(0))
    assert kinds(prepared) == {"Conv2D": 2}


def heads(image: Any, activation: str = "swish", depth: int = 3, other: str | None = None) -> Any:
    outputs = {}
    for name, width, channels in (("class", 4, 6), ("box", 5, 8)):
        x = image
        for _ in range(depth):
            x = layers.DepthwiseConv2D(3, padding="same")(x)
            x = normalized(x, width)
            x = layers.Activation(other if other and name == "box" else activation)(x)
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        outputs[name] = layers.Conv2D(channels, 1)(x)
    return outputs


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_heads_are_joined_on_small_maps(depth: int) -> None:
    image = input_of(3, 4, 4)
    _, prepared = prepared_from(heads(image, depth=depth), image)
    assert kinds(prepared) == {"Conv2D": depth + 2, "DepthwiseConv2D": depth, "Activation": depth}


def test_joined_heads_share_their_steps_fairly() -> None:
    image = input_of(3, 4, 4)
    model, prepared = prepared_from(heads(image), image)

    def bounds(network: keras.Model) -> list[float]:
        kernels = [layer.get_weights()[0] for layer in network.layers
                   if isinstance(layer, layers.DepthwiseConv2D)]  # fmt: skip
        sums = [np.abs(kernel).sum(axis=(0, 1, 3)) for kernel in kernels]
        return [float(each.max() / each.min()) for each in sums]

    assert max(bounds(model)) > 1.5
    assert max(bounds(prepared)) < 1.001


@pytest.mark.parametrize(
    ("side", "depth", "other"), [(80, 3, None), (3, 0, None), (3, 3, "relu")], ids=str
)
def test_heads_stay_apart(side: int, depth: int, other: str | None) -> None:
    image = input_of(side, side, 4)
    _, prepared = prepared_from(heads(image, depth=depth, other=other), image)
    assert kinds(prepared)["DepthwiseConv2D"] == 2 * (depth + 1)


# Of TensorFlow Lite, for a layer of each kind; besides, a factor of a fusion is one.
_OPERATORS = {
    "Conv2D": 1, "DepthwiseConv2D": 1, "Add": 1, "Multiply": 1, "GlobalAveragePooling2D": 1,
    "NearestUpsampling": 1, "ConstantFusion": 1, "Activation": 2, "Identity": 0,
}  # fmt: skip


def test_m0_has_fewer_than_560_operators_at_its_own_size() -> None:
    prepared = prepare_for_export(build("eff-spinenet-m0", batch_size=1))
    # The gates of squeeze-and-excite are sigmoids within their convolutions.
    gates = sum(getattr(layer, "activation", None) is keras.activations.sigmoid
                for layer in prepared.layers)  # fmt: skip
    found = kinds(prepared)
    operators = sum(_OPERATORS[kind] * number for kind, number in found.items())
    assert operators + gates + len(factors_of(prepared)) < 560
