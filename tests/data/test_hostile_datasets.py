"""Given files that nobody should trust, loading and checking end quickly, in clear words."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgedet.data import load_dataset
from edgedet.data.checking import check_dataset
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.plain_xml import parse_xml

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(
        f'<!ENTITY {name} "{f"&{below};" * 10}">'
        for below, name in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    + "]><annotation><object><name>&k;</name></object></annotation>"
)
THIEF = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<annotation><object><name>&x;</name></object></annotation>"
)


def picture(path: Path, size: tuple[int, int] = (64, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 30, 200)).save(path, format="JPEG")
    return path


def yolo(folder: Path, row: str = "0 0.5 0.5 0.5 0.5\n") -> Path:
    picture(folder / "images" / "a.jpg")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text(row)
    return described(folder, train="images")


def voc(folder: Path, xml: str | bytes) -> Path:
    picture(folder / "train" / "a.jpg")
    text = xml.encode() if isinstance(xml, str) else xml
    (folder / "train" / "a.xml").write_bytes(text)
    return described(folder, train="train", format="voc")


def coco(folder: Path, **image: Any) -> Path:
    picture(folder / "images" / "a.jpg")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 64, **image}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return described(folder, train={"images": "images", "annotations": "a.json"})


def described(folder: Path, **content: Any) -> Path:
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump({"names": ["cat"], **content}))
    return file


def refusal(file: Path) -> str:
    """The sentence that loading ends with; the check must come to an end too, and not pass."""
    with pytest.raises(EdgeDetError) as caught:
        load_dataset(file, "train")
    with suppress(EdgeDetError):
        assert not check_dataset(file).passed
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert message.endswith(".")
    return message


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=200), place=st.sampled_from(["yaml", "json", "xml", "txt", "jpg"]))
def test_random_bytes_anywhere_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, place: str
) -> None:
    folder = tmp_path_factory.mktemp("random")
    if place == "json":
        file = coco(folder)
        (folder / "a.json").write_bytes(data)
    elif place == "xml":
        file = voc(folder, data)
    else:
        file = yolo(folder)
        names = {"yaml": "data.yaml", "txt": "labels/a.txt", "jpg": "images/a.jpg"}
        (folder / names[place]).write_bytes(data)

    try:
        dataset = load_dataset(file, "train")
    except EdgeDetError as error:
        told = str(error)
    else:
        told = None
    if told is not None:
        assert str(folder) in told
        assert "\n" not in told
        return
    boxes = np.concatenate([sample.boxes for sample in dataset.samples])
    assert np.isfinite(boxes).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


DISTANT = '<!DOCTYPE annotation SYSTEM "http://example.com/voc.dtd"><annotation></annotation>'


@pytest.mark.parametrize(
    "xml", [BOMB, THIEF, DISTANT], ids=["billion laughs", "external entity", "external DTD"]
)
def test_xml_that_declares_entities_is_refused_before_they_are_read(
    tmp_path: Path, xml: str
) -> None:
    message = refusal(voc(tmp_path, xml))

    assert message == (
        f"{tmp_path}/train/a.xml has a DOCTYPE, which it does not need; correct or remove the file."
    )


@pytest.mark.parametrize(
    ("xml", "fault"),
    [
        (b"<a>" * 100_000, "nests elements more than 32 deep"),
        (b"<annotation>&nosuch;</annotation>", "is not well-formed xml"),
        (b'<?xml version="1.0" encoding="x-nosuch"?><annotation/>', "is not well-formed xml"),
        (b"\xff\xfe\x00\x00", "is not well-formed xml"),
        (b"", "is not well-formed xml"),
        (b"<annotation><object><name>\xe9</name></object></annotation>", "not well-formed"),
    ],
)
def test_xml_that_is_broken_is_refused(xml: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_xml(xml)


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_boxes_without_end_in_one_picture_are_refused(tmp_path: Path, kind: str) -> None:
    count = 200_000 if kind == "coco" else 1_000_000
    if kind == "yolo":
        file = yolo(tmp_path, "0 .5 .5 .1 .1\n" * count)
    elif kind == "voc":
        file = voc(tmp_path, f"<annotation>{'<object></object>' * count}</annotation>")
    else:
        file = coco(tmp_path)
        listed = ",".join(['{"image_id":1,"category_id":1,"bbox":[1,1,9,9]}'] * count)
        text = (tmp_path / "a.json").read_text()
        start = text.index('"annotations"')
        (tmp_path / "a.json").write_text(
            f'{text[:start]}"annotations": [{listed}], "categories": [{{"id": 1, "name": "cat"}}]}}'
        )

    with pytest.raises(InvalidInputError, match=r"has \d+ (boxes|rows|objects), more than 10000; "):
        load_dataset(file, "train")


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


# Pillow itself refuses from 178.96 million pixels on.
@pytest.mark.parametrize("side", [13_360, 100_000, 2**31 - 1])
def test_a_header_that_promises_too_many_pixels_is_refused(tmp_path: Path, side: int) -> None:
    file = yolo(tmp_path)
    (tmp_path / "images" / "a.jpg").write_bytes(png_header(side, side))

    message = refusal(file)

    assert f"the picture '{tmp_path}/images/a.jpg' has more than 178 million pixels" in message


def test_links_in_a_circle_are_walked_once(tmp_path: Path) -> None:
    file = yolo(tmp_path)
    (tmp_path / "images" / "deep").mkdir()
    (tmp_path / "images" / "deep" / "loop").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "self.jpg").symlink_to(tmp_path / "images" / "self.jpg")

    with pytest.raises(EdgeDetError, match=r"self\.jpg' does not exist"):
        load_dataset(file, "train")
    (tmp_path / "images" / "self.jpg").unlink()

    assert [sample.path.name for sample in load_dataset(file, "train").samples] == ["a.jpg"]


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    file = yolo(tmp_path)
    # A Mac's archives hold such a file beside each picture.
    (tmp_path / "images" / "._a.jpg").write_bytes(b"Mac OS X")
    (tmp_path / "images" / ".cache").mkdir()
    picture(tmp_path / "images" / ".cache" / "b.jpg")

    assert [sample.path.name for sample in load_dataset(file, "train").samples] == ["a.jpg"]


def test_pictures_behind_a_link_are_found(tmp_path: Path) -> None:
    yolo(tmp_path / "far")
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train").symlink_to(tmp_path / "far" / name)

    dataset = load_dataset(described(tmp_path, train="images/train"), "train")

    assert dataset.samples[0].path == tmp_path / "images/train/a.jpg"
    assert len(dataset.samples[0].boxes) == 1


def test_directories_nested_without_end_are_refused(tmp_path: Path) -> None:
    file = yolo(tmp_path)
    deep = tmp_path / "images"
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()

    assert "nested more than 32 deep" in refusal(file)


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/hostname", "sub/../../../secret.jpg"])
def test_annotations_must_not_lead_out_of_the_dataset(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "secret.jpg")
    folder = tmp_path / "set"
    folder.mkdir()

    message = refusal(coco(folder, file_name=name))

    assert f"the picture '{name}' lies outside of {folder}/images" in message
    assert "set `path` in the data.yaml to a directory that holds all" in message


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/hostname"])
def test_a_list_of_pictures_must_not_lead_out_of_the_dataset(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    yolo(folder)
    (folder / "train.txt").write_text(f"images/a.jpg\n{name}\n")

    message = refusal(described(folder, train="train.txt"))

    assert f"the picture '{name}' lies outside" in message


def test_a_path_that_stays_within_the_dataset_may_go_up(tmp_path: Path) -> None:
    file = coco(tmp_path, file_name="../other/b.jpg")
    picture(tmp_path / "other" / "b.jpg")

    assert load_dataset(file, "train").samples[0].path.is_file()


def test_the_data_yaml_may_name_places_anywhere(tmp_path: Path) -> None:
    yolo(tmp_path / "far")
    (tmp_path / "near").mkdir()

    file = described(tmp_path / "near", path=str(tmp_path / "far"), train="images")

    assert len(load_dataset(file, "train").samples) == 1


def test_a_name_that_is_no_utf8_is_read_and_shown(tmp_path: Path) -> None:
    file = yolo(tmp_path)
    for folder, suffix in (("images", b".jpg"), ("labels", b".txt")):
        place = os.fsencode(tmp_path / folder)
        os.rename(place + b"/a" + suffix, place + b"/\xe4\xff" + suffix)  # noqa: PTH104

    (tmp_path / "train.txt").write_bytes(b"images/\xe4\xff.jpg\n")

    for entry in ("train.txt", "images"):
        file = described(tmp_path, train=entry)
        dataset = load_dataset(file, "train")
        assert os.fsencode(dataset.samples[0].path.name) == b"\xe4\xff.jpg"
        assert len(dataset.samples[0].boxes) == 1
    dataset.samples[0].path.write_bytes(b"")
    message = refusal(file)
    message.encode()  # can be printed
    assert "\\udce4\\udcff.jpg" in message


Irregular = Callable[[Path], object]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
@pytest.mark.parametrize("place", ["images/a.jpg", "labels/a.txt", "a.json", "data.yaml"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Irregular, place: str) -> None:
    file = coco(tmp_path) if place == "a.json" else yolo(tmp_path)
    (tmp_path / place).unlink()
    make(tmp_path / place)
    if place == "images/a.jpg":
        # A directory is no picture, whatever its name; a list names it as one.
        (tmp_path / "train.txt").write_text(f"{place}\n")
        file = described(tmp_path, train="train.txt")

    message = refusal(file)

    assert place in message
    assert "regular file" in message or "directory" in message or "neither xml nor txt" in message


def test_a_coco_picture_that_is_a_directory_is_found_by_the_check(tmp_path: Path) -> None:
    file = coco(tmp_path)
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "images" / "a.jpg").mkdir()

    (finding,) = [f for f in check_dataset(file).findings if f.kind == "damaged-picture"]

    assert "is a directory" in finding.examples[0].text


def test_an_empty_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        load_dataset(coco(tmp_path, file_name="nul\0byte.jpg"), "train")


@pytest.mark.parametrize("key", ["path", "train"])
@pytest.mark.parametrize("value", ["nul\0byte", "x" * 5000, "a/" * 3000])
def test_a_path_that_can_be_none_is_refused(tmp_path: Path, key: str, value: str) -> None:
    yolo(tmp_path)

    with pytest.raises(EdgeDetError):
        load_dataset(described(tmp_path, **{"train": "images", key: value}), "train")
