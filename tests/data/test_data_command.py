"""`edgedet data`: what its commands print, write and exit with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Outcome = Any  # of the fixture `edgedet`


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data.yaml of COCO json with 12 pictures of noise in each of two splits."""
    rng = np.random.default_rng(1)
    lines = ["names: [cat]"]
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        for n in range(1, 13):
            pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / split / f"{n}.png")
        content = {
            "images": [
                {"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in range(1, 13)
            ],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1, "bbox": [9, 8, 20, 20 + n]}
                for n in range(1, 13)
            ],
            "categories": [{"id": 1, "name": "cat"}],
        }
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
        lines.append(f"{split}: {{images: images/{split}, annotations: {split}.json}}")
    (tmp_path / "data.yaml").write_text("\n".join(lines))
    return tmp_path / "data.yaml"


def spoil(data: Path, part: str, **change: Any) -> None:
    """Change the first entry of a part of the training annotations."""
    file = data.with_name("train.json")
    content = json.loads(file.read_text())
    content[part][0].update(change)
    file.write_text(json.dumps(content))


def test_the_command_writes_a_report_and_tells_errors_by_its_exit(
    data: Path, edgedet: Callable[..., Outcome], tmp_path: Path
) -> None:
    clean = edgedet("data", "check", data)
    assert clean.code == 0, clean.err
    assert "next: edgedet train --data" in clean.out
    assert (tmp_path / "runs/data/exp/check.html").is_file()

    spoil(data, "annotations", bbox=[60, 8, 20, 20])
    result = edgedet("data", "check", data, "--json", "--name", "spoilt")

    assert result.code == 1
    content = json.loads(result.out)
    assert content["passed"] is False
    assert content["directory"] == "runs/data/spoilt"
    written = json.loads((tmp_path / "runs/data/spoilt/check.json").read_text())
    assert written["findings"] == content["findings"]
    (finding,) = [f for f in written["findings"] if f["severity"] == "error"]
    assert (finding["kind"], finding["count"]) == ("bad-box", 1)

    table = edgedet("data", "check", data, "--out", tmp_path / "there")
    assert table.code == 1
    assert "bad_boxes: drop" in " ".join(table.out.split())
    assert (tmp_path / "there" / "check.html").is_file()


def test_the_command_exits_2_for_what_it_can_not_use(edgedet: Callable[..., Outcome]) -> None:
    result = edgedet("data", "check", "none.yaml")

    assert result.code == 2
    assert result.err == "error: none.yaml does not exist; name the data.yaml of a dataset.\n"
    assert not Path("runs").exists()


def test_names_that_are_no_utf8_are_printed(
    data: Path, edgedet: Callable[..., Outcome], tmp_path: Path
) -> None:
    spoil(data, "images", file_name="\udcff.png")

    result = edgedet("data", "check", data)

    assert result.code == 1
    assert "\\udcff.png" in (tmp_path / "runs/data/exp/check.html").read_text()


def test_the_command_converts_and_tells_what_is_lost(
    data: Path, edgedet: Callable[..., Outcome], tmp_path: Path
) -> None:
    result = edgedet("data", "convert", data, "--to", "yolo", "--out", "new", "--link")

    assert result.code == 0, result.err
    assert "train  12 pictures, 12 boxes" in result.out
    assert "lost: Image ids" in result.out
    assert "next: edgedet data check new/data.yaml" in result.out
    assert (tmp_path / "new/images/train/1.png").is_symlink()
    content = json.loads(
        edgedet("data", "convert", data, "--to", "voc", "--out", "voc", "--json").out
    )
    assert content["pictures"] == {"train": 12, "val": 12}
    assert edgedet("data", "check", content["data"]).code == 0


def test_the_command_writes_a_preview(
    data: Path, edgedet: Callable[..., Outcome], tmp_path: Path
) -> None:
    result = edgedet("data", "preview", data, "--count", 4, "--imgsz", 128)

    assert result.code == 0, result.err
    sheet = Image.open(tmp_path / "runs" / "data" / "exp" / "preview.png")
    assert min(sheet.size) > 128
    wrong = edgedet("data", "preview", data, "--imgsz", 3)
    assert wrong.code == 2


def test_the_preview_is_augmented_as_the_recipe_says(
    data: Path, edgedet: Callable[..., Outcome], tmp_path: Path
) -> None:
    def preview(name: str, *options: object) -> bytes:
        result = edgedet("data", "preview", data, "--count", 4, "--name", name, *options)
        assert result.code == 0, result.err
        return (tmp_path / "runs" / "data" / name / "preview.png").read_bytes()

    own = tmp_path / "own.yaml"
    own.write_text("scale: [0.1, 2.0]\nmosaic: 0.0\ncolour: 0.5\n")

    told = preview("options", "--scale", 0.1, 2.0, "--colour", 0.5)
    assert preview("recipe", "--recipe", own) == told
    assert preview("default") != told
    assert preview("changed", "--recipe", own, "--colour", 0.2) != told
    wrong = edgedet("data", "preview", data, "--recipe", "papers")
    assert wrong.code == 2
    assert "no recipe 'papers'" in wrong.err


@pytest.mark.parametrize("name", ["check", "convert", "preview"])
def test_each_subcommand_explains_itself(name: str, edgedet: Callable[..., Outcome]) -> None:
    result = edgedet("data", name, "--help")

    assert result.code == 0
    assert re.match(rf"Usage: edgedet data {name} \[OPTIONS\] .?DATA\.yaml", result.out)
