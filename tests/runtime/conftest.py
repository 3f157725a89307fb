from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgedet import Detector
from edgedet.archive import read_model
from edgedet.archive.onnx import append_spec as append_onnx_spec

HERE = Path(__file__).parent
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="session")
def blocks_model() -> ModuleType:
    """The script that made the model files in `data/`."""
    spec = importlib.util.spec_from_file_location("blocks_model", HERE / "blocks_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def int8_file() -> Path:
    return HERE / "data" / "blocks-int8.tflite"


@pytest.fixture(scope="session")
def float_file() -> Path:
    return HERE / "data" / "blocks-float32.tflite"


@pytest.fixture(scope="session")
def xml_file(blocks_model: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino")
    path = tmp_path_factory.mktemp("openvino") / "blocks.xml"
    blocks_model.write_openvino(path)
    return path


@pytest.fixture(scope="session")
def onnx_file(blocks_model: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("onnx") / "blocks.onnx"
    path.write_bytes(append_onnx_spec(blocks_model.onnx_model(), blocks_model.SPEC))
    return path


@pytest.fixture(scope="session")
def model_bytes(int8_file: Path) -> bytes:
    """The int8 network without its spec."""
    return read_model(int8_file)[1]


@pytest.fixture(scope="session")
def detector(int8_file: Path) -> Detector:
    return Detector(int8_file, threads=1)


@pytest.fixture(scope="session")
def keras_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A `.keras` file of a small network with fresh weights, the network, and its spec."""
    models = pytest.importorskip("edgedet.models")
    spec = models.preset_spec("eff-spinenet-m0", labels=["cat", "dog"], size=128)
    model = models.build(spec)
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    models.save_model(model, spec, path)
    return path, model, spec


@pytest.fixture
def scene() -> Callable[..., npt.NDArray[np.uint8]]:
    """Makes a grey picture with squares on it, each (colour, x, y, side)."""

    def make(
        height: int, width: int, squares: Sequence[tuple[str, int, int, int]] = ()
    ) -> npt.NDArray[np.uint8]:
        picture = np.full((height, width, 3), 128, np.uint8)
        for colour, x, y, side in squares:
            picture[y : y + side, x : x + side] = COLOURS[colour]
        return picture

    return make


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
