"""`.xml` and `.onnx` files: those that are refused, and the engines that run the others."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys

import numpy as np
import pytest

from edgedet import Detector, archive
from edgedet.archive import openvino as ir
from edgedet.archive.onnx import append_spec
from edgedet.errors import InvalidInputError, MissingDependencyError, MissingFileError
from edgedet.runtime.cost import Cost, count_file
from edgedet.runtime.engines import open_engine
from edgedet.runtime.engines.stored import read_stored
from edgedet.spec import AnchorSpec, InputSpec

KINDS = ("xml", "onnx")
ENGINES = {"xml": "openvino", "onnx": "onnxruntime"}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def file(kind, request, tmp_path):
    """A copy of the tests' network that a test may damage."""
    whole = request.getfixturevalue(f"{kind}_file")
    for part in whole.parent.glob(f"{whole.stem}.*"):
        shutil.copy(part, tmp_path)
    return tmp_path / whole.name


def refusal(path, kind=InvalidInputError):
    with pytest.raises(kind) as refused:
        Detector(path)
    sentence = str(refused.value)
    assert path.stem in sentence
    assert "\n" not in sentence
    return sentence


def with_spec(file, spec):
    """The file with another spec, and a checksum to fit."""
    if file.suffix == ".onnx":
        model = archive.onnx.read_model(file)[1]
        # A later entry wins, as in any Protocol Buffers map.
        file.write_bytes(append_spec(model, spec))
    else:
        rewrite(file, lambda xml: replaced_spec(xml, spec.to_json()))


def replaced_spec(xml, text):
    escaped = text.replace("&", "&amp;").replace('"', "&quot;").replace("\n", "&#10;")
    return re.sub(r'<edgedet value="[^"]*"', lambda _: f'<edgedet value="{escaped}"', xml)


def rewrite(file, change):
    """Change the XML and give it the checksum that fits."""
    xml = change(file.read_text().rpartition("<!--")[0])
    file.write_bytes(ir.add_digest(xml.encode(), file.with_suffix(".bin").read_bytes()))


class TestEngines:
    def test_the_file_says_what_it_is(self, file, kind, blocks_model):
        engine = open_engine(file, threads=1)
        assert (engine.name, engine.threads) == (ENGINES[kind], 1)
        assert engine.spec == blocks_model.SPEC
        assert engine.input_info.name == "image"
        assert [info.name for info in engine.class_info] == [f"class_{n}" for n in range(3, 8)]
        assert [info.shape for info in engine.box_info] == [
            (1, side, side, 4) for side in (8, 4, 2, 1, 1)
        ]

    def test_float32_runs_in_float32(self, file):
        assert open_engine(file, threads=1).precision == "float32"

    def test_tensors_are_read_and_written_in_place(self, file):
        engine = open_engine(file, threads=1)
        image = engine.input()
        before = [head.copy() for heads in engine.outputs() for head in heads]
        image[...] = 1.0
        assert engine.input() is image
        heads = [head for heads in engine.outputs() for head in heads]
        engine.run()
        assert all((was == 0).all() for was in before)
        # White: no colour stands out of the others.
        assert all(np.allclose(head, -8, atol=1e-5) for head in heads[:5])
        assert all(np.allclose(head, 0.06, atol=1e-5) for head in heads[5:])

    def test_threads_follow_the_argument(self, file):
        assert Detector(file, threads=2).threads == 2

    def test_another_engine_is_refused(self, file, kind):
        with pytest.raises(InvalidInputError, match=rf"litert can't run \.{kind} files"):
            Detector(file, engine="litert")

    def test_the_cost_is_counted(self, file):
        """As in the `.tflite` file, but here each level has a kernel of its own."""
        cost = count_file(file)
        assert cost == Cost(parameters=5 * (9 + 12 + 3 + 4), multiply_adds=86 * (9 + 12))


class TestWithoutTheEngine:
    @pytest.fixture(autouse=True)
    def _no_engine(self, monkeypatch):
        for package in ("openvino", "onnxruntime", "onnx"):
            monkeypatch.setitem(sys.modules, package, None)

    def test_the_package_is_named(self, file, kind):
        with pytest.raises(MissingDependencyError, match=r'pip install "edgedet\[') as refused:
            Detector(file)
        assert f"[{'openvino' if kind == 'xml' else 'onnx'}]" in str(refused.value)

    def test_the_file_is_described_all_the_same(self, file, kind, edgedet, blocks_model):
        report = json.loads(edgedet("info", file, "--json").out)
        assert (report["name"], report["engine"]) == ("colour-blocks", ENGINES[kind])
        assert report["quantization"] == "float32 input, float32 outputs"
        assert report["outputs"][0]["shape"] == [1, 8, 8, 3]
        assert report["multiply_adds"] == 1806
        assert archive.read_spec(file) == blocks_model.SPEC

    def test_a_file_that_does_not_fit_its_spec_is_refused(self, file, blocks_model):
        with_spec(file, dataclasses.replace(blocks_model.SPEC, input=InputSpec(64, 32)))
        with pytest.raises(InvalidInputError, match="the input has shape"):
            read_stored(file)


class TestFaults:
    def test_a_missing_file_is_named(self, file):
        file.unlink()
        assert "There is no model file" in refusal(file, MissingFileError)

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"", "is empty"),
            (b"garbage" * 999, "carries no edgedet model spec"),
            (bytes(9999), "carries no edgedet model spec"),
            (b"<net></net>", "carries no edgedet model spec"),
            (b"\x08\x08", "carries no edgedet model spec"),
        ],
    )
    def test_files_that_are_no_models_are_refused(self, file, data, said):
        file.write_bytes(data)
        assert said in refusal(file)

    @pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
    def test_truncated_files_are_refused(self, file, kept):
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * kept)])
        assert "cut short" in refusal(file)

    def test_one_changed_weight_is_noticed(self, file):
        place = file.with_suffix(".bin") if file.suffix == ".xml" else file
        data = bytearray(place.read_bytes())
        at = data.index(np.float32(-4.0).tobytes())  # half of the contrast, times 8
        data[at + 2] ^= 0x10
        place.write_bytes(data)
        assert "is damaged" in refusal(file)

    def test_any_damage_is_refused_or_harmless(self, file):
        whole = file.read_bytes()
        random = np.random.default_rng(0)
        refusals = []
        for _ in range(100):
            data = bytearray(whole)
            for place in random.integers(0, len(data), random.integers(1, 5)):
                data[place] = random.choice([0, 255, int(random.integers(256))])
            file.write_bytes(data)
            try:
                read_stored(file)
            except InvalidInputError as error:
                refusals.append(str(error))
        assert len(refusals) > 90
        assert all(file.stem in sentence for sentence in refusals)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"input": InputSpec(64, 32)},
                "the input has shape [1, 64, 64, 3], its spec says [1, 64, 32, 3]",
            ),
            (
                {"labels": ("red", "green"), "category_ids": (1, 2)},
                "the output class_3 has shape [1, 8, 8, 3], its spec says [1, 8, 8, 2]",
            ),
            (
                {"anchors": AnchorSpec(min_level=2, scale=1.0, octaves=1, aspect_ratios=(1.0,))},
                "has no output class_2, box_2, which its spec names",
            ),
        ],
    )
    def test_a_spec_that_does_not_fit_is_refused(self, file, changes, said, blocks_model):
        with_spec(file, dataclasses.replace(blocks_model.SPEC, **changes))
        assert said in refusal(file)

    def test_a_spec_without_end_is_refused(self, file, monkeypatch):
        monkeypatch.setattr("edgedet.archive.model_file.MAX_SPEC_BYTES", 100)
        assert "the spec inside is larger than 100 bytes" in refusal(file)


class TestXml:
    @pytest.fixture
    def kind(self):
        return "xml"

    def test_weights_that_are_missing_are_named(self, file):
        file.with_suffix(".bin").unlink()
        sentence = refusal(file, MissingFileError)
        assert str(file.with_suffix(".bin")) in sentence

    @pytest.mark.parametrize("length", [0, 1, 100])
    def test_weights_that_are_cut_short_are_refused(self, file, length):
        weights = file.with_suffix(".bin")
        weights.write_bytes(weights.read_bytes()[:length])
        assert ("is damaged" if length else "is empty") in refusal(file)

    def test_weights_too_few_are_refused_without_a_checksum_too(self, file):
        file.write_text(file.read_text().rpartition("<!--")[0])
        assert len(Detector(file).detect(np.zeros((8, 8, 3), np.uint8))) == 0
        file.with_suffix(".bin").write_bytes(bytes(10))
        assert "can't be loaded by OpenVINO (Incorrect weights" in refusal(file)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_entities_are_refused_before_they_grow(self, file, encoding):
        bomb = '<!DOCTYPE net [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
        text = file.read_text().replace('<?xml version="1.0"?>', f'<?xml version="1.0"?>{bomb}')
        assert bomb in text
        file.write_bytes(text.encode(encoding))
        assert "carries no edgedet model spec" in refusal(file)

    def test_a_file_too_large_is_not_read(self, file, monkeypatch):
        monkeypatch.setattr(ir, "_MAX_XML_BYTES", 2**20)
        with file.open("r+b") as opened:
            opened.truncate(2**21)
        assert "is larger than 1 MiB" in refusal(file)

    def test_nesting_without_end_is_refused(self, file):
        deep = "<a>" * 99 + "</a>" * 99
        rewrite(file, lambda xml: xml.replace("<rt_info>", "<rt_info>" + deep, 1))
        assert "carries no edgedet model spec" in refusal(file)

    def test_tensors_too_large_for_memory_are_refused(self, file, monkeypatch):
        monkeypatch.setattr("edgedet.runtime.engines.openvino.MAX_TENSOR_BYTES", 10_000)
        assert "bytes, edgedet runs at most 10000" in refusal(file)

    def test_operators_that_openvino_lacks_are_refused(self, file):
        rewrite(file, lambda xml: xml.replace('type="AvgPool"', 'type="NoSuchThing"', 1))
        assert "can't be loaded by OpenVINO" in refusal(file)

    def test_openvino_itself_reads_the_spec(self, file, blocks_model):
        from edgedet.packages import import_openvino

        model = import_openvino().Core().read_model(file)
        assert model.get_rt_info(list(ir.RT_INFO_PATH)).astype(str) == blocks_model.SPEC.to_json()


class TestOnnx:
    @pytest.fixture
    def kind(self):
        return "onnx"

    def test_onnx_itself_reads_the_spec(self, file, blocks_model):
        import onnx

        model = onnx.load(file)
        entries = {entry.key: entry.value for entry in model.metadata_props}
        assert entries["edgedet"] == blocks_model.SPEC.to_json()

    def test_a_file_that_another_program_wrote_anew_is_run(self, file):
        import onnx

        model = onnx.load(file)
        model.producer_name = "another program"
        onnx.save(model, file)
        assert open_engine(file, threads=1).precision == "float32"

    @pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "/etc/passwd"])
    def test_weights_outside_are_refused(self, file, place):
        import onnx

        model = onnx.load(file)
        tensor = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, place)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        file.write_bytes(model.SerializeToString())
        assert "keeps weights in other files" in refusal(file)

    def test_weights_outside_are_found_in_a_branch_too(self, file):
        import onnx

        model = onnx.load(file)
        tensor = onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT, [1], [1.0])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
        branch = onnx.helper.make_graph([constant], "branch", [], [])
        model.graph.node.append(onnx.helper.make_node("If", ["image"], [], then_branch=branch))
        file.write_bytes(model.SerializeToString())
        assert "keeps weights in other files" in refusal(file)

    def test_operators_that_onnx_runtime_lacks_are_refused(self, file, blocks_model):
        model = blocks_model.onnx_model().replace(b"AveragePool", b"NoSuchThing")
        file.write_bytes(append_spec(model, blocks_model.SPEC))
        assert "can't be loaded by ONNX Runtime" in refusal(file)

    def test_open_sides_are_refused(self, file):
        import onnx

        model = onnx.load(file)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.save(model, file)
        assert "the input has shape [-1, 64, 64, 3]" in refusal(file)
