"""Weights of keras.applications in our networks: same numbers, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.models.blocks import BlockStyle
from edgedet.models.classifiers import build_classifier
from edgedet.models.efficientnet import EfficientNet
from edgedet.models.importers import import_keras_applications
from edgedet.models.mobilenet_v2 import MobileNetV2

# Halved five times, even and odd maps both occur: padding differs between them.
SIZE = 70


def _randomize(network: keras.Model) -> None:
    """Random weights, moving statistics included, that keep the activations in range."""
    rng = np.random.default_rng(5)
    for weight in network.weights:
        name = weight.path.lower()
        if name.endswith("project_bn/gamma"):
            # Many full residual branches on top of each other would amplify rounding without end.
            weight.assign(rng.uniform(0.1, 0.3, weight.shape))
        elif name.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif name.endswith(("beta", "moving_mean", "bias")):
            weight.assign(rng.normal(0, 0.2, weight.shape))


def _zero(network: keras.Model) -> keras.Model:
    network.set_weights([np.zeros_like(weight) for weight in network.get_weights()])
    return network


def _images() -> np.ndarray:
    return np.random.default_rng(2).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)


def _answer(network: keras.Model, images: np.ndarray) -> Any:
    # Layer by layer: tracing a graph for `predict` takes longer than all else here.
    return keras.tree.map_structure(np.asarray, network(images, training=False))


def _error(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert np.abs(theirs).max() > 0
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _keras_efficientnet(variant: str, **options: Any) -> keras.Model:
    network = getattr(keras.applications, f"EfficientNet{variant}")(
        weights=None, input_shape=(SIZE, SIZE, 3), **options
    )
    _randomize(network)
    return network


@pytest.fixture(scope="module")
def theirs() -> keras.Model:
    return _keras_efficientnet("B0", classes=5, classifier_activation=None)


@pytest.fixture(scope="module")
def expected(theirs: keras.Model) -> np.ndarray:
    return _answer(theirs, _images())


@pytest.fixture(scope="module")
def arrays(theirs: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: weight.numpy() for weight in theirs.weights}


@pytest.fixture(scope="module")
def classifier() -> keras.Model:
    return build_classifier("efficientnet-b0", num_classes=5, size=SIZE)


def _write_weights(network: keras.Model, path: Path) -> Path:
    path = path.with_suffix(".weights.h5")
    network.save_weights(path)
    return path


def _write_model(network: keras.Model, path: Path) -> Path:
    path = path.with_suffix(".h5")
    network.save(path)
    return path


def _write_tensorflow_2(network: keras.Model, path: Path, *, scope: str = "{}") -> Path:
    """As the published files are: bytes, output numbers, the depthwise kernel's older name."""
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = []
            for weight in layer.weights:
                variable = weight.path.rpartition("/")[2]
                if isinstance(layer, keras.layers.DepthwiseConv2D):
                    variable = variable.replace("kernel", "depthwise_kernel")
                names.append(f"{scope.format(layer.name)}/{variable}:0")
                group[names[-1]] = weight.numpy()
            group.attrs["weight_names"] = [name.encode() for name in names]
    return path


def _write_numbered_scopes(network: keras.Model, path: Path) -> Path:
    """As TensorFlow 1 wrote a second model of one session; the list of names in two parts."""
    path = _write_tensorflow_2(network, path, scope="{}_1")
    with h5py.File(path, "r+") as file:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:30], names[30:]
    return path


def _write_nested(network: keras.Model, path: Path) -> Path:
    """As TensorFlow 2 wrote a model that holds the application as one layer."""
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        group = file.create_group("efficientnetb0")
        names = [f"{weight.path}:0" for weight in network.weights]
        for name, weight in zip(names, network.weights, strict=True):
            group[name] = weight.numpy()
        file.attrs["layer_names"] = [b"efficientnetb0"]
        # Past 64 KiB an attribute is split.
        group.attrs["weight_names0"] = [name.encode() for name in names[:100]]
        group.attrs["weight_names1"] = [name.encode() for name in names[100:]]
    return path


@pytest.mark.parametrize(
    "write",
    [_write_weights, _write_model, _write_tensorflow_2, _write_numbered_scopes, _write_nested],
)
def test_files_of_every_layout_give_the_same_logits(
    write: Callable[[keras.Model, Path], Path],
    theirs: keras.Model,
    classifier: keras.Model,
    expected: np.ndarray,
    tmp_path: Path,
) -> None:
    path = write(theirs, tmp_path / "b0")
    report = import_keras_applications(path, _zero(classifier))
    assert report.untouched == ()
    assert len(report.used) == len(classifier.weights)
    # A fresh Normalization layer leaves the images as Rescaling made them: a 255th.
    assert len(report.unused) == 3
    assert all(name.startswith("normalization") for name in report.unused)
    assert _error(_answer(classifier, _images() / 255), expected) <= 1e-4


@pytest.mark.parametrize("variant", ["b3", "b7"])
def test_larger_variants_give_the_same_logits(variant: str) -> None:
    theirs = _keras_efficientnet(variant.upper(), classes=5, classifier_activation=None)
    ours = build_classifier(f"efficientnet-{variant}", num_classes=5, size=SIZE)
    report = import_keras_applications({each.path: each.numpy() for each in theirs.weights}, ours)
    assert report.untouched == ()
    expected = _answer(theirs, _images())
    assert _error(_answer(ours, _images() / 255), expected) <= 1e-4


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("variant", ["b1", "b5"])
def test_every_variable_of_a_variant_has_its_place(variant: str) -> None:
    # Names and shapes decide; the arrays take no memory.
    theirs = getattr(keras.applications, f"EfficientNet{variant.upper()}")(weights=None)
    arrays = {each.path: np.broadcast_to(np.float32(0), each.shape) for each in theirs.weights}
    report = import_keras_applications(arrays, build_classifier(f"efficientnet-{variant}"))
    assert report.untouched == ()
    assert len(report.unused) == 3
    assert all(name.startswith("normalization") for name in report.unused)


def test_a_file_without_top_leaves_the_predictions_at_their_start(
    classifier: keras.Model, tmp_path: Path
) -> None:
    theirs = _keras_efficientnet("B0", include_top=False)
    _zero(classifier)
    start = np.full((1280, 5), 0.5, np.float32)
    classifier.get_layer("predictions").kernel.assign(start)
    report = import_keras_applications(_write_tensorflow_2(theirs, tmp_path / "b0"), classifier)
    assert report.untouched == ("predictions/kernel", "predictions/bias")
    np.testing.assert_array_equal(classifier.get_layer("predictions").kernel.numpy(), start)
    top = keras.Model(classifier.input, classifier.get_layer("top_swish").output)
    expected = _answer(theirs, _images())
    assert _error(_answer(top, _images() / 255), expected) <= 1e-4


def test_predictions_of_other_classes_are_left_at_their_start(
    classifier: keras.Model, arrays: dict[str, np.ndarray]
) -> None:
    others = {
        **arrays,
        "predictions/kernel": np.ones((1280, 9), np.float32),
        "predictions/bias": np.ones(9, np.float32),
    }
    report = import_keras_applications(others, _zero(classifier))
    assert report.untouched == ("predictions/kernel", "predictions/bias")
    assert {"predictions/kernel", "predictions/bias"} <= set(report.unused)
    assert not classifier.get_layer("predictions").bias.numpy().any()


def test_a_detector_takes_the_backbone_alone(
    theirs: keras.Model, arrays: dict[str, np.ndarray]
) -> None:
    image = keras.Input((SIZE, SIZE, 3))
    features = EfficientNet().features(image, BlockStyle())
    head = keras.layers.Conv2D(4, 1, name="class_head")(features[5])
    detector = _zero(keras.Model(image, {**{str(k): v for k, v in features.items()}, "6": head}))
    report = import_keras_applications(arrays, detector)
    assert report.untouched == ("class_head/kernel", "class_head/bias")
    left = {re.sub(r"normalization_\d+", "normalization", name) for name in report.unused}
    assert {name.partition("/")[0] for name in left} == {
        "normalization",
        "predictions",
        "top_bn",
        "top_conv",
    }
    names = {1: "block1a", 2: "block2b", 3: "block3b", 4: "block5c", 5: "block7a"}
    layers = {
        level: theirs.get_layer(f"{name}_{'add' if level in (2, 3, 4) else 'project_bn'}").output
        for level, name in names.items()
    }
    maps = _answer(keras.Model(theirs.input, list(layers.values())), _images())
    answer = _answer(detector, _images() / 255)
    for level, expected in zip(layers, maps, strict=True):
        assert _error(answer[str(level)], expected) <= 1e-4, level


def test_mobilenet_v2_gives_the_same_features(tmp_path: Path) -> None:
    theirs = keras.applications.MobileNetV2((SIZE, SIZE, 3), include_top=False, weights=None)
    _randomize(theirs)
    image = keras.Input((SIZE, SIZE, 3))
    style, backbone = BlockStyle("relu6"), MobileNetV2()
    top = backbone.top(backbone.features(image, style)[5], style)
    ours = _zero(keras.Model(image, top))
    report = import_keras_applications(_write_weights(theirs, tmp_path / "mobilenet"), ours)
    assert (report.unused, report.untouched) == ((), ())
    images = _images() / 127.5 - 1
    expected = _answer(theirs, images)
    assert _error(_answer(ours, images), expected) <= 1e-4


def _lite(image: Any) -> Any:
    return EfficientNet(lite=True).features(image, BlockStyle())[5]


def _deeper(image: Any) -> Any:
    return EfficientNet(depth=1.1).features(image, BlockStyle())[5]


def _wider(image: Any) -> Any:
    return EfficientNet(width=1.1).features(image, BlockStyle())[5]


def _none(image: Any) -> Any:
    return BlockStyle().conv(image, 32, "stem", kernel=3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_lite, r"the source has 'block\w+_se_\w+/\w+', for which the network other has no layer"),
        (_deeper, r"the source has no 'block1b_\w+/\w+' for the network's stage_0_block_1_\w+"),
        (_wider, r"'block3\w+/kernel' \(.*\) of the source doesn't fit the network's stage_2_"),
        (_none, r"The network other has none of the layers of the source"),
    ],
)
def test_weights_of_another_architecture_are_refused(
    body: Callable[[Any], Any], said: str, arrays: dict[str, np.ndarray]
) -> None:
    image = keras.Input((32, 32, 3))
    network = keras.Model(image, body(image), name="other")
    before = network.get_weights()
    with pytest.raises(InvalidInputError, match=said):
        import_keras_applications(arrays, network)
    for now, then in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_missing_file_is_named(classifier: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.h5"):
        import_keras_applications(tmp_path / "gone.h5", classifier)


def test_a_damaged_file_is_named(
    theirs: keras.Model, classifier: keras.Model, tmp_path: Path
) -> None:
    path = _write_weights(theirs, tmp_path / "cut")
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InvalidInputError, match=r"cut\.weights\.h5 is no readable HDF5 file"):
        import_keras_applications(path, classifier)


@pytest.mark.parametrize("content", [{}, {"dense": np.ones(3)}])
def test_a_foreign_file_is_named(
    content: dict[str, np.ndarray], classifier: keras.Model, tmp_path: Path
) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            file[name] = value
    with pytest.raises(InvalidInputError, match=r"other\.h5 holds no EfficientNet"):
        import_keras_applications(path, classifier)


def _link(group: h5py.Group, name: str, target: Path) -> None:
    group[name] = h5py.ExternalLink(str(target), "secret")


def _virtual(group: h5py.Group, name: str, target: Path) -> None:
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource(str(target), "secret", (3,))
    group.create_virtual_dataset(name, layout)


def _external(group: h5py.Group, name: str, target: Path) -> None:
    group.create_dataset(name, (3,), np.float32, external=[(str(target), 0, 12)])


@pytest.mark.parametrize("refer", [_link, _virtual, _external])
def test_a_file_that_leads_into_others_is_refused(
    refer: Callable[[h5py.Group, str, Path], None], classifier: keras.Model, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "target.h5", "w") as file:
        file["secret"] = np.ones(3, np.float32)
    path = tmp_path / "b0.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"stem_bn"]
        group = file.create_group("stem_bn")
        group.attrs["weight_names"] = [b"stem_bn/gamma:0"]
        refer(group, "stem_bn/gamma:0", tmp_path / "target.h5")
    with pytest.raises(InvalidInputError, match=r"b0\.h5 refers to other files"):
        import_keras_applications(path, classifier)


def test_a_file_that_claims_too_much_is_refused(classifier: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"stem_bn"]
        group = file.create_group("stem_bn")
        group.attrs["weight_names"] = [b"stem_bn/gamma:0"]
        # Chunks that nobody wrote take no room in the file.
        group.create_dataset("stem_bn/gamma:0", (2**30,), np.float32, chunks=True)
    assert path.stat().st_size < 2**20
    with pytest.raises(InvalidInputError, match=r"bomb\.h5 holds more than"):
        import_keras_applications(path, classifier)
