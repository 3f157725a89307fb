"""What can't be converted: one sentence, nothing left behind, earlier files as they were."""

from __future__ import annotations

import errno
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgedet.cli import main
from edgedet.converters import formats, tflite
from edgedet.converters.formats import convert
from edgedet.errors import EdgeDetError, InvalidInputError, MissingDependencyError


def garbage(path: Path, model: Path) -> None:
    path.write_bytes(b"no model at all" * 100)


def empty(path: Path, model: Path) -> None:
    path.touch()


def truncated(path: Path, model: Path) -> None:
    path.write_bytes(model.read_bytes()[:-1000])


def without_spec(path: Path, model: Path) -> None:
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name != "edgedet.json":
                target.writestr(name, source.read(name))


def with_other_weights(path: Path, model: Path) -> None:
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, b"" if name.endswith(".weights.h5") else data)


def directory(path: Path, model: Path) -> None:
    path.mkdir()


def nothing(path: Path, model: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (nothing, "There is no model file"),
        (directory, "is a directory"),
        (empty, "is empty"),
        (garbage, "carries no edgedet model spec"),
        (truncated, "carries no edgedet model spec"),
        (without_spec, "carries no edgedet model spec"),
        (with_other_weights, "the weights don't fit"),
    ],
)
def test_bad_models(
    make: Callable[[Path, Path], None],
    sentence: str,
    model_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "bad.keras"
    make(model, model_file)
    before = sorted(tmp_path.rglob("*"))
    assert_refused(
        ["convert", str(model), "--out", str(tmp_path / "new" / "out")], sentence, capsys
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--int8"], "add `--data data.yaml`"),
        (["--int16x8"], "int16x8 needs the training pictures to calibrate on"),
        (["--int8", "--fp16"], "one of --int8, --fp16, --dynamic and --int16x8"),
        (["--to", "openvino", "--dynamic"], "does not write openvino in dynamic"),
        (["--to", "tflite,onnx", "--int16x8"], "does not write onnx in int16x8, only in float32"),
        (["--batch", "0"], "The batch must be from 1 to 1024, not 0"),
        (["--imgsz", "0"], "The input size must be from 1 to 8192 pixels, not 0"),
        (["--imgsz", "200"], "must be a multiple of 128, the stride of its coarsest level P7"),
        (["--to", ""], "no format ''"),
        (["--to", "caffe"], "no format 'caffe'"),
        (["--int8", "--data", "absent.yaml"], "absent.yaml does not exist"),
        (["--int8", "--data", "DATA", "--calibration-images", "0"], "must be positive"),
        (["--int8", "--data", "OTHER"], "has other classes (cat, dog, fish) than the model"),
        (["--int8", "--data", "EMPTY"], "has no boxes"),
    ],
)
def test_bad_options(
    options: list[str],
    sentence: str,
    model_file: Path,
    data: Path,
    make_dataset: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = make_dataset(tmp_path / "other", 2, ("cat", "dog", "fish"))
    none = make_dataset(tmp_path / "none", 0)
    places = {"DATA": str(data), "OTHER": str(other), "EMPTY": str(none)}
    options = [places.get(option, option) for option in options]
    out = tmp_path / "out"
    assert_refused(["convert", str(model_file), "--out", str(out), *options], sentence, capsys)
    assert not out.exists()


def assert_refused(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert sentence in lines[0]
    assert "Traceback" not in printed.err


def test_unreadable_calibration_picture(model_file: Path, data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data.parent, copy)
    (copy / "images" / "003.png").write_bytes(b"")
    out = tmp_path / "out"
    with pytest.raises(InvalidInputError, match=r"003\.png is empty"):
        convert(model_file, precision="int8", data=copy / "data.yaml", out=out)
    assert not out.exists()


def test_full_disk_keeps_the_earlier_file(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "tiny-float32.tflite"
    target.write_bytes(b"earlier")
    write_bytes = Path.write_bytes

    def fills_up(path: Path, data: bytes) -> int:
        write_bytes(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with pytest.raises(EdgeDetError, match="the disk is full"):
        convert(model_file, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"earlier"


def test_full_temporary_disk_leaves_nothing(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgedet.converters import saved_model

    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def fills_up(source: Path, directory: Path, variant: object) -> None:
        directory.mkdir()
        (directory / "half").write_bytes(b"half")
        with saved_model.explained(source):
            # As TensorFlow words it.
            raise RuntimeError(f"{directory}/variables.data; No space left on device")

    monkeypatch.setattr(formats, "export", fills_up)
    with pytest.raises(EdgeDetError, match=r"temporary files is full.*TMPDIR"):
        convert(model_file, out=out)
    assert list(tmp_path.rglob("*")) == [scratch]


def test_scratch_directory_is_removed(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = formats.export
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def leaves_files(source: Path, directory: Path, variant: object) -> object:
        directory.mkdir()
        (directory / "saved_model.pb").write_bytes(b"graph")
        return export(source, directory, variant)

    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(formats, "export", leaves_files)
    convert(model_file, out=tmp_path / "out")
    assert list(scratch.iterdir()) == []


def test_out_that_is_a_file(model_file: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(EdgeDetError, match="can't be written"):
        convert(model_file, out=blocked)


def test_failing_converter_is_one_sentence(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgedet.converters import saved_model

    def fails(source: Path, exported: object, precision: str) -> bytes:
        with saved_model.explained(source):
            raise ValueError("first line\nsecond line")

    monkeypatch.setattr(tflite, "to_flatbuffer", fails)
    with pytest.raises(EdgeDetError, match=r"can't convert it \(ValueError: first line\)"):
        convert(model_file, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = formats.export

    def spoiled(source: Path, directory: Path, variant: object) -> object:
        exported = export(source, directory, variant)
        expected = {name: value * float("nan") for name, value in exported.expected.items()}
        return replace(exported, expected=expected)

    monkeypatch.setattr(formats, "export", spoiled)
    with pytest.raises(EdgeDetError, match="class_3 differs from Keras's by nan"):
        convert(model_file, out=tmp_path / "out")


def test_missing_tensorflow(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "edgedet\[convert\]"'):
        convert(model_file, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_keras_backend(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(EdgeDetError, match="loaded it with jax"):
        convert(model_file, out=tmp_path / "out")
