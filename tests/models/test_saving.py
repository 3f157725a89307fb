""".keras files: the network is rebuilt from the spec, the weights come from the file."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.models import build, load_model, preset_spec, save_model
from edgedet.spec import ModelSpec


@pytest.fixture(scope="module")
def saved(
    tmp_path_factory: pytest.TempPathFactory, small_network: keras.Model, small_spec: ModelSpec
) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    save_model(small_network, small_spec, path)
    return path


def test_a_saved_model_answers_as_before(
    saved: Path, small_network: keras.Model, small_spec: ModelSpec
) -> None:
    loaded, spec = load_model(saved)
    assert spec == small_spec
    images = np.random.default_rng(0).normal(size=(1, 128, 128, 3)).astype(np.float32)
    before = small_network(images, training=False)
    for name, tensor in loaded(images, training=False).items():
        np.testing.assert_array_equal(tensor, before[name])


def test_keras_itself_loads_the_file(saved: Path, small_network: keras.Model) -> None:
    plain = keras.saving.load_model(saved, compile=False)
    assert plain.count_params() == small_network.count_params()


def _rewritten(saved: Path, path: Path, **members: str | bytes) -> Path:
    """The saved file with other contents in some members, `edgedet` or `weights`."""
    names = {"edgedet": "edgedet.json", "weights": "model.weights.h5"}
    contents = {names[key]: value for key, value in members.items()}
    with zipfile.ZipFile(saved) as before, zipfile.ZipFile(path, "w") as after:
        for entry in before.infolist():
            after.writestr(entry, contents.get(entry.filename, before.read(entry)))
    return path


@pytest.mark.parametrize(
    ("name", "labels", "layer"),
    [
        ("eff-spinenet-m0", ["one"], "class_predictor_pointwise"),
        ("eff-spinenet-m0-nose", ["one", "two"], r"\w+_project_conv"),
        ("efficientdet-d0-1@8", ["one", "two"], r"\w+"),
    ],
)
def test_weights_of_another_network_are_refused(
    saved: Path,
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
    name: str,
    labels: list[str],
    layer: str,
) -> None:
    spec = preset_spec(name, labels, size=128)
    path = _rewritten(saved, tmp_path / "other.keras", edgedet=spec.to_json())
    said = (
        rf".*other\.keras: the weights don't fit {spec.name} with the labels and options of its "
        rf"spec \(they differ at the layer {layer}\); copy or train it again\."
    )
    with pytest.raises(InvalidInputError) as raised:
        load_model(path)
    assert re.fullmatch(said, str(raised.value))
    assert not [each for each in recwarn if "keras" in each.filename]


@pytest.mark.parametrize(
    ("was", "instead", "said"),
    [
        ('"eff-spinenet-m0"', '"eff-spinenet-m9"', "There is no model 'eff-spinenet-m9'; did you"),
        ('"max_level": 7', '"max_level": 8', "eff-spinenet-m0 has the levels P3 to P7, not P3 to "),
        ('"options": {}', '"options": {"exit": 1}', "eff-spinenet-m0: exit needs anytime"),
        ('"relu6"', '"gelu"', "There is no activation 'gelu'"),
    ],
)
def test_a_spec_of_no_network_is_refused_with_the_files_name(
    saved: Path, small_spec: ModelSpec, tmp_path: Path, was: str, instead: str, said: str
) -> None:
    text = small_spec.to_json()
    assert was in text
    path = _rewritten(saved, tmp_path / "strange.keras", edgedet=text.replace(was, instead))
    with pytest.raises(InvalidInputError, match=rf"strange\.keras: {said}"):
        load_model(path)


def test_damage_within_the_weights_is_refused(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved) as members:
        weights = bytearray(members.read("model.weights.h5"))
    half = len(weights) // 2
    weights[half:] = bytes(len(weights) - half)
    path = _rewritten(saved, tmp_path / "half.keras", weights=bytes(weights))
    with pytest.raises(InvalidInputError, match=r"half\.keras: .*\(they are damaged\); copy"):
        load_model(path)


def test_a_keras_file_without_spec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(InvalidInputError, match="carries no edgedet model spec"):
        load_model(path)


def test_a_truncated_file_is_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.keras"
    path.write_bytes(saved.read_bytes()[:10_000])
    with pytest.raises(InvalidInputError, match=r"cut\.keras"):
        load_model(path)


def test_damaged_weights_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.keras"
    content = bytearray(saved.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"damaged\.keras"):
        load_model(path)


def test_weights_larger_than_the_network_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(saved) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("edgedet.json", before.read("edgedet.json"))
        bomb.writestr("model.weights.h5", bytes(100 * 2**20))
    with pytest.raises(InvalidInputError, match=r"bomb\.keras: the weights don't fit"):
        load_model(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.keras"):
        load_model(tmp_path / "gone.keras")


def test_only_keras_files_are_written(
    small_network: keras.Model, small_spec: ModelSpec, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=r"must end in \.keras"):
        save_model(small_network, small_spec, tmp_path / "model.h5")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "eff-spinenet-mo"}, "did you mean eff-spinenet-m"),
        ({"name": "eff-spinenet-m0", "size": 200}, "multiple of 128"),
        ({"name": "eff-spinenet-m0", "size": -128}, "multiple of 128"),
        ({"name": "eff-spinenet-m0", "size": 128000}, "128000 x 128000 pixels is larger than any"),
        ({"name": "eff-spinenet-m0", "activation": "gelu"}, "choose one of swish"),
    ],
)
def test_options_that_fit_no_preset_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        build(preset_spec(labels=["a"], **arguments))  # type: ignore[arg-type]
