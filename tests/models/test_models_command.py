"""`edgedet models` and `edgedet info NAME`: what the zoo holds and costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet import cli
from edgedet.cli.models import count_spec, describe
from edgedet.models import Count, Preset, build, count, preset_spec, presets

ASSET = Path(cli.__file__).parents[1] / "assets" / "models.json"
STORED = {model["name"]: model for model in json.loads(ASSET.read_text())["models"]}


Command = Callable[..., Any]


@pytest.mark.parametrize("each", presets(), ids=lambda each: each.name)
def test_the_stored_figures_are_those_of_the_network(
    each: Preset, counted: Callable[[str], Count]
) -> None:
    # After a change of a network: edgedet models --recount --json > edgedet/assets/models.json
    assert STORED[each.name] == json.loads(json.dumps(describe(each, counted(each.name))))


def test_the_stored_models_are_all_presets_in_order() -> None:
    assert list(STORED) == [each.name for each in presets()]


def test_networks_without_weights_count_as_real_ones() -> None:
    spec = preset_spec("eff-spinenet-m0", ["a"], size=128)
    assert count_spec(spec) == count(build(spec))


def test_json_gives_every_model(edgedet: Command) -> None:
    done = edgedet("models", "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"models": list(STORED.values())}


def test_the_table_compares_with_the_paper(edgedet: Command) -> None:
    done = edgedet("models", "--family", "eff-spinenet-m")
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines()]
    (row,) = [row for row in rows if row[:1] == ["eff-spinenet-m0"]]
    # 650808 is 2.9% less than 0.67 M.
    assert row[:7] == ["eff-spinenet-m0", "256", "650", "808", "0.67", "-2.9", "0.139"]
    assert row[-1] == "17.3"
    assert done.out.splitlines()[-1].startswith("next: edgedet info eff-spinenet-m0")
    names = [row[0] for row in rows if row and row[0] in STORED]
    assert names == ["eff-spinenet-m0", "eff-spinenet-m1", "eff-spinenet-m2"]


def test_the_whole_table_fits_a_terminal(edgedet: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = edgedet("models")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [
        line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in STORED
    ] == [*STORED]
    assert "…" not in done.out


def test_the_list_needs_no_keras() -> None:
    code = """
import sys
sys.modules["keras"] = sys.modules["tensorflow"] = None
from edgedet.cli import main
main(["models"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "efficientdet-d0" in done.stdout


@pytest.mark.parametrize("more", [[], ["--recount"]])
def test_a_family_that_there_is_not_is_refused(edgedet: Command, more: list[str]) -> None:
    done = edgedet("models", "--family", "yolo", *more)
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: No model begins with 'yolo'; `edgedet models` lists all.\n"


def test_recounting_builds_the_networks(edgedet: Command) -> None:
    done = edgedet("models", "--recount", "--family", "spinenet-mobile-49x", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"models": [STORED["spinenet-mobile-49xs"]]}


def test_info_of_a_preset_agrees_with_the_list(edgedet: Command) -> None:
    done = edgedet("info", "eff-spinenet-m0", "--json")
    report = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert {key: report[key] for key in STORED["eff-spinenet-m0"]} == STORED["eff-spinenet-m0"]
    assert report["options"] == {}
    assert report["anchors"]["scale"] == 3.0
    assert report["input"]["width"] == 256
    assert "layers" not in report
    assert sum(cost[1] for cost in report["by_level"].values()) == report["multiply_adds"]


def test_info_takes_options_and_keeps_the_papers_figures_out(edgedet: Command) -> None:
    name = "mobilenetv2-nasfpnlite-2@16-relu"
    report = json.loads(edgedet("info", name, "--layers", "--json").out)
    plain = STORED["mobilenetv2-nasfpnlite"]
    assert (report["name"], report["preset"]) == (name, plain["name"])
    assert report["options"] == {"stacks": 2, "width": 16}
    assert report["activation"] == "relu"
    assert report["published"] == dict.fromkeys(plain["published"])
    assert report["parts"]["backbone"] == plain["parts"]["backbone"]
    assert report["parts"]["pyramid"][0] < plain["parts"]["pyramid"][0]
    for key in ("parameters", "multiply_adds"):
        assert sum(layer[key] for layer in report["layers"]) == report[key]
    first = next(layer for layer in report["layers"] if layer["kind"] == "Conv2D")
    assert first["output"] == [160, 160, 32]
    assert (first["part"], first["level"], first["parameters"]) == ("backbone", 1, 864)


def test_info_prints_parts_levels_and_layers(edgedet: Command) -> None:
    done = edgedet("info", "eff-spinenet-m0-relu6", "--layers")
    assert (done.code, done.err) == (0, "")
    for part in (
        "eff-spinenet-m0-relu6, relu6",
        "nothing of this network",
        "650 808 at 91 classes",
        "138 518 800",
        "class head",
        "7, stride 128",
        "node_15",
    ):
        assert part in done.out
    assert done.out.splitlines()[-1] == (
        "next: edgedet train --model eff-spinenet-m0-relu6 --data data.yaml"
    )


def test_info_draws_the_table(edgedet: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = edgedet("info", "eff-spinenet-m0", "--plot", "new/graph.png", "--json")
    assert json.loads(done.out)["plot"] == str(Path("new") / "graph.png")
    assert (tmp_path / "new" / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["graph.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["efficientdet-do"], "There is no model 'efficientdet-do'; did you mean efficientdet-d"),
        (["yolo"], "There is no model 'yolo'; `edgedet models` lists all."),
        ([""], "Name a model file, or a model that `edgedet models` lists."),
        (["retinanet-resnet50-fpn-3@64"], "retinanet-resnet50-fpn has no stacked pyramid"),
        (["efficientdet-d0", "--plot", "graph.jpeg"], "--plot writes .png, .svg, .pdf; graph.jpeg"),
        (["missing.tflite"], "There is no model file"),
        (["runs/efficientdet-d0"], "is no model that edgedet runs"),
        (["efficientdet-d1"], "efficientdet-d1 is no model that edgedet runs"),
        (["missing.tflite", "--layers"], "--layers and --plot are for architectures"),
    ],
)
def test_what_info_cannot_show_is_one_sentence(
    edgedet: Command, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "efficientdet-d1").write_bytes(b"a file of this name goes before the preset")
    done = edgedet("info", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["efficientdet-d1"]


def test_a_missing_matplotlib_is_named(
    edgedet: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    done = edgedet("info", "eff-spinenet-m0", "--plot", "graph.png")
    assert done.code == 2
    assert "matplotlib is not installed" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_a_presets_name_is_no_file(edgedet: Command, tmp_path: Path) -> None:
    (tmp_path / "eff-spinenet-m0").mkdir()
    report: dict[str, Any] = json.loads(edgedet("info", "eff-spinenet-m0", "--json").out)
    assert report["parameters"] == STORED["eff-spinenet-m0"]["parameters"]


def test_the_document_prints_the_stored_figures() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    rows = [
        [cell.strip() for cell in line.split("|")[2:-1]]
        for line in text.splitlines()
        if line.count("|") == 10 and "`" in line
    ]
    expected = []
    for model in STORED.values():
        published = [
            ("" if value is None else f"{value:g}") for value in model["published"].values()
        ]
        expected.append(
            [
                f"`{model['name']}`",
                str(model["size"]),
                str(model["classes"]),
                f"{model['parameters']:,}".replace(",", " "),
                published[0],
                f"{model['multiply_adds'] / 1e9:.3f}",
                *published[1:],
            ]
        )
    assert rows == expected
