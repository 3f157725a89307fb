"""Assigning foreign arrays to variables: layouts against plain NumPy, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models.importers import link, pytorch_layout, transfer
from edgedet.models.layers import WeightedFusion


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.fixture
def network() -> keras.Model:
    image = keras.Input((3, 3, 4))
    deep = keras.layers.DepthwiseConv2D(3, use_bias=False, name="deep")(image)
    wide = keras.layers.Conv2D(5, 3, name="wide")(image)
    flat = keras.layers.Flatten(name="flat")(wide)
    return keras.Model(image, {"deep": deep, "wide": keras.layers.Dense(2, name="out")(flat)})


@pytest.fixture
def state() -> dict[str, np.ndarray]:
    """As a PyTorch `state_dict` has it, with a variable that the network lacks."""
    return {
        "deep.weight": _random(4, 1, 3, 3),
        "wide.weight": _random(5, 4, 3, 3),
        "wide.bias": _random(5),
        "out.weight": _random(2, 5),
        "out.bias": _random(2),
        "wide.num_batches_tracked": np.array(7),
    }


def _pytorch_name(path: str) -> str:
    return path.replace("/kernel", ".weight").replace("/bias", ".bias")


def test_pytorch_layouts_compute_what_pytorch_does(
    network: keras.Model, state: dict[str, np.ndarray]
) -> None:
    report = transfer(state, link(network, _pytorch_name, layout=pytorch_layout))
    assert report.used == tuple(state)[:-1]
    assert report.unused == ("wide.num_batches_tracked",)
    assert report.untouched == ()
    image = _random(1, 3, 3, 4)
    answer = network(image)
    deep = np.einsum("chw,hwc->c", state["deep.weight"][:, 0], image[0])
    wide = np.einsum("oihw,hwi->o", state["wide.weight"], image[0]) + state["wide.bias"]
    out = state["out.weight"] @ wide + state["out.bias"]
    np.testing.assert_allclose(np.ravel(answer["deep"]), deep, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.ravel(answer["wide"]), out, rtol=1e-5, atol=1e-4)


def test_parts_of_a_variable_are_stacked_in_the_order_of_their_names() -> None:
    inputs = [keras.Input((2,)) for _ in range(3)]
    network = keras.Model(inputs, WeightedFusion(name="fusion")(inputs))
    parts = {"WSM_2": np.float32(3), "WSM": np.float32(1), "WSM_1": np.float32(2)}
    transfer(parts, link(network, lambda path: ("WSM", "WSM_1", "WSM_2")))
    np.testing.assert_array_equal(network.get_layer("fusion").get_weights()[0], [1, 2, 3])


def test_an_optional_variable_keeps_its_start_when_it_does_not_fit_or_is_missing(
    network: keras.Model, state: dict[str, np.ndarray]
) -> None:
    state["out.weight"] = _random(9, 5)
    del state["out.bias"]
    before = network.get_layer("out").get_weights()
    links = link(
        network,
        _pytorch_name,
        layout=pytorch_layout,
        optional=lambda path: path.startswith("out/"),
    )
    report = transfer(state, links)
    assert report.untouched == ("out/kernel", "out/bias")
    assert "out.weight" in report.unused
    for now, then in zip(network.get_layer("out").get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_variable_without_a_name_in_the_source_keeps_its_start(
    network: keras.Model, state: dict[str, np.ndarray]
) -> None:
    links = link(
        network,
        lambda path: None if path.startswith("deep") else _pytorch_name(path),
        layout=pytorch_layout,
    )
    report = transfer(state, links)
    assert report.untouched == ("deep/kernel",)
    assert "deep.weight" in report.unused


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "out.weight",
            _random(3, 5),
            r"'out\.weight' \(3, 5\) of x\.pth doesn't fit the network's out/kernel \(5, 2\)",
        ),
        (
            "wide.weight",
            _random(5, 36),
            r"'wide\.weight' \(5, 36\) of x\.pth .* wide/kernel \(3, 3, 4, 5\)",
        ),
        ("out.bias", None, r"x\.pth has no 'out\.bias' for the network's out/bias \(2,\)"),
        ("out.bias", np.array([1, np.nan]), r"'out\.bias' .* out/bias, holds values that are not"),
        ("out.bias", np.array(["a", "b"]), r"'out\.bias' .* out/bias, holds values that are not"),
    ],
)
def test_what_does_not_fit_is_named_on_both_sides_and_nothing_is_assigned(
    network: keras.Model,
    state: dict[str, np.ndarray],
    name: str,
    value: np.ndarray | None,
    said: str,
) -> None:
    if value is None:
        del state[name]
    else:
        state[name] = value
    before = network.get_weights()
    with pytest.raises(InvalidInputError, match=said):
        transfer(state, link(network, _pytorch_name, layout=pytorch_layout), origin="x.pth")
    for now, then in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_parts_of_different_shapes_are_refused() -> None:
    inputs = [keras.Input((2,)) for _ in range(2)]
    network = keras.Model(inputs, WeightedFusion(name="fusion")(inputs))
    parts = {"a": np.float32(1), "b": np.ones(2, np.float32)}
    with pytest.raises(InvalidInputError, match=r"'a' \(\) and 'b' \(2,\) of the source doesn't"):
        transfer(parts, link(network, lambda path: ("a", "b")))
