"""Given options, `generate` writes a whole dataset whose every byte the seed fixes, or nothing."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.cli import main
from edgedet.data import load_dataset, synth
from edgedet.data.digit_scenes import SceneOptions, scene
from edgedet.data.synth import SynthOptions, generate
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.images import read_image

SMALL = SynthOptions(images=3, val=2, size=96, min_digit=12, max_digit=60)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "digits"
    generate(folder, SMALL)
    return folder


def test_the_seed_fixes_every_byte(made: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", SMALL)

    assert content(tmp_path / "again") == content(made)


def test_another_seed_gives_other_pictures(made: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other", SynthOptions(**{**vars(SMALL), "seed": 1}))

    first, other = content(made), content(tmp_path / "other")
    assert first.keys() == other.keys()
    pictures = [name for name in first if name.endswith(".jpg")]
    assert len(pictures) == 5
    assert all(first[name] != other[name] for name in pictures)


def test_the_number_of_processes_changes_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth, "_MIN_PARALLEL", 1)
    monkeypatch.setattr(synth, "_CHUNK", 1)

    generate(tmp_path / "parallel", SMALL, processes=2)

    assert content(tmp_path / "parallel") == content(made)


def test_a_larger_dataset_begins_with_the_smaller(made: Path, tmp_path: Path) -> None:
    generate(tmp_path / "larger", SynthOptions(**{**vars(SMALL), "images": 5}))

    small, large = content(made), content(tmp_path / "larger")
    for name in small:
        if name.startswith(("images", "annotations/val")):
            assert small[name] == large[name]
    fewer, more = (json.loads(files["annotations/train.json"]) for files in (small, large))
    assert more["images"][:3] == fewer["images"]
    assert more["annotations"][: len(fewer["annotations"])] == fewer["annotations"]


def test_what_is_written_loads_as_a_dataset(made: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        dataset = load_dataset(made / "data.yaml", split)

        assert len(dataset.samples) == count
        assert dataset.labels == tuple("0123456789")
        assert dataset.category_ids == tuple(range(1, 11))
        assert dataset.flip is False
        for number, sample in enumerate(dataset.samples):
            drawn = scene(0, split, number, SceneOptions(96, 12, 60))
            np.testing.assert_array_equal(sample.boxes, drawn.boxes)
            np.testing.assert_array_equal(sample.classes, drawn.digits)
            pixels = read_image(sample.path)
            assert pixels.shape == (sample.height, sample.width, 3)
            # Coding noise and changes JPEG, but little.
            assert np.abs(pixels.astype(int) - drawn.pixels).mean() < 8


def test_annotations_have_cocos_fields(made: Path) -> None:
    train = json.loads((made / "annotations/train.json").read_bytes())

    assert [entry["id"] for entry in train["images"]] == [1, 2, 3]
    assert [entry["id"] for entry in train["annotations"]] == list(
        range(1, len(train["annotations"]) + 1)
    )
    for entry in train["annotations"]:
        assert entry["iscrowd"] == 0
        assert entry["area"] == entry["bbox"][2] * entry["bbox"][3]


def test_a_contact_sheet_shows_the_first_scenes(made: Path) -> None:
    with Image.open(made / "preview.png") as sheet:
        assert sheet.size == (300, 100)
        assert (np.asarray(sheet) == (255, 0, 0)).all(axis=2).sum() > 100


def test_the_contact_sheet_of_large_scenes_stays_small(tmp_path: Path) -> None:
    generate(tmp_path / "large", SynthOptions(images=1, val=1, size=640))

    with Image.open(tmp_path / "large" / "preview.png") as sheet:
        assert sheet.size == (260, 260)


def test_the_summary_counts_what_was_written(tmp_path: Path) -> None:
    advanced: list[int] = []

    summary = generate(tmp_path / "digits", SMALL, advance=advanced.append)

    train = json.loads((tmp_path / "digits/annotations/train.json").read_bytes())
    assert summary.images == {"train": 3, "val": 2}
    assert summary.digits["train"] == len(train["annotations"])
    assert summary.bytes == sum(len(data) for data in content(tmp_path / "digits").values())
    assert sum(advanced) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0},
        {"images": 10**9},
        {"val": 0},
        {"size": 32},
        {"size": 100_000},
        {"seed": -1},
        {"seed": 1.5},
        {"min_digit": 4},
        {"min_digit": 200},
        {"max_digit": 11},
        {"max_count": 0},
        {"images": True},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    name = next(iter(wrong)).replace("_", "-")
    with pytest.raises(
        InvalidInputError, match=rf"^{name} must be an integer from \d+ to \d+, not"
    ):
        SynthOptions(**wrong)


def full_disk_at(number: int) -> Callable[..., Any]:
    def drawn(seed: int, split: str, wanted: int, options: SceneOptions) -> Any:
        if (split, wanted) == ("train", number):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return scene(seed, split, wanted, options)

    return drawn


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synth, "scene", full_disk_at(2))

    with pytest.raises(EdgeDetError, match="digits: the disk is full"):
        generate(tmp_path / "digits", SMALL)

    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_keeps_the_earlier_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(tmp_path / "digits", SMALL)
    before = content(tmp_path)
    monkeypatch.setattr(synth, "scene", full_disk_at(2))

    with pytest.raises(EdgeDetError, match="the disk is full"):
        generate(tmp_path / "digits", SynthOptions(**{**vars(SMALL), "seed": 5}))

    assert content(tmp_path) == before


def test_an_interrupted_exchange_is_undone(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(tmp_path / "digits", SMALL)
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 7:
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)

    with pytest.raises(OSError, match="broken"):
        generate(tmp_path / "digits", SynthOptions(**{**vars(SMALL), "seed": 5}))

    assert content(tmp_path / "digits") == content(made)


def test_an_earlier_dataset_is_replaced_whole(tmp_path: Path) -> None:
    generate(tmp_path / "digits", SynthOptions(**{**vars(SMALL), "images": 4, "seed": 9}))

    generate(tmp_path / "digits", SMALL)

    generate(tmp_path / "fresh", SMALL)
    assert content(tmp_path / "digits") == content(tmp_path / "fresh")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "fresh"]


def test_an_empty_directory_is_filled_in_place(tmp_path: Path, made: Path) -> None:
    (tmp_path / "digits").mkdir()
    identity = (tmp_path / "digits").stat().st_ino

    generate(tmp_path / "digits", SMALL)

    assert (tmp_path / "digits").stat().st_ino == identity
    assert content(tmp_path / "digits") == content(made)


def test_missing_parents_are_created(tmp_path: Path) -> None:
    generate(tmp_path / "a" / "b" / "digits", SMALL)

    assert (tmp_path / "a/b/digits/data.yaml").is_file()


def with_notes(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


def with_another_data_yaml(folder: Path) -> None:
    folder.mkdir()
    (folder / "data.yaml").write_text("names: [cat]")


def with_notes_in_a_dataset(folder: Path) -> None:
    generate(folder, SMALL)
    (folder / "notes.txt").write_text("mine")


def as_a_file(folder: Path) -> None:
    folder.write_text("mine")


def as_a_broken_link(folder: Path) -> None:
    folder.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("prepare", "fault"),
    [
        (with_notes, r"digits holds notes\.txt, which `edgedet synth` did not write"),
        (with_another_data_yaml, r"digits holds data\.yaml, which"),
        (with_notes_in_a_dataset, r"digits holds notes\.txt, which"),
        (as_a_file, "digits is not a directory"),
        (as_a_broken_link, "digits is not a directory"),
    ],
)
def test_what_others_wrote_is_left_alone(
    tmp_path: Path, prepare: Callable[[Path], None], fault: str
) -> None:
    prepare(tmp_path / "digits")
    before = content(tmp_path)

    with pytest.raises(InvalidInputError, match=fault):
        generate(tmp_path / "digits", SynthOptions(**{**vars(SMALL), "seed": 5}))

    assert content(tmp_path) == before


def test_a_killed_process_is_told_in_a_sentence() -> None:
    with pytest.raises(EdgeDetError, match="was killed"), synth._mapper(2) as mapped:
        list(mapped(os._exit, [1]))


def test_the_command_prints_one_json_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["synth", str(tmp_path / "d"), "--images", "2", "--val", "1", "--size", "96", "--json"]

    with pytest.raises(SystemExit) as caught:
        main(words)

    assert not caught.value.code
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == {"train": 2, "val": 1}
    assert report["boxes"]["train"] > 0
    assert Path(report["data"]).is_file()


def test_the_command_names_the_next_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["synth", str(tmp_path / "d"), "--images", "1", "--val", "1", "--size", "96"])

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("next: edgedet train ")
    assert str(tmp_path / "d" / "data.yaml") in last


def test_the_command_refuses_with_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_notes(tmp_path / "d")

    with pytest.raises(SystemExit) as caught:
        main(["synth", str(tmp_path / "d"), "--images", "1", "--val", "1"])

    assert caught.value.code == 2
    assert "holds notes.txt" in capsys.readouterr().err
