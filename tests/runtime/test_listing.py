"""Which files a directory or a pattern names, and in which order."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.runtime import listing
from edgedet.runtime.listing import list_pictures, match_files, natural_order


def touch(directory, *names):
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()


def below(directory, paths):
    return [str(Path(path).relative_to(directory)) for path in paths]


def test_a_directory_gives_its_own_pictures_in_natural_order(tmp_path):
    touch(tmp_path, "p10.png", "p2.JPG", "sub/p1.png", ".hidden.png", "notes.txt", "clip.mp4")
    (tmp_path / "folder.png").mkdir()
    found = list_pictures(tmp_path)
    assert below(tmp_path, found) == ["p2.JPG", "p10.png"]
    assert (len(found), found[-1]) == (2, str(tmp_path / "p10.png"))
    assert below(tmp_path, found[1:]) == ["p10.png"]


def test_links_to_pictures_count_and_links_in_a_circle_do_not(tmp_path):
    touch(tmp_path, "real/a.png")
    (tmp_path / "link.png").symlink_to("real/a.png")
    (tmp_path / "round.png").symlink_to("round.png")
    (tmp_path / "gone.png").symlink_to("nothing.png")
    assert below(tmp_path, list_pictures(tmp_path)) == ["link.png"]


def test_a_directory_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InvalidInputError, match="check its permissions"):
        list_pictures(tmp_path)


class Entry:
    """What `os.scandir` gives, without a file behind it."""

    def __init__(self, name):
        self.name = name

    def is_file(self):
        return True


class Scan:
    """A directory of as many pictures as one likes, which counts what was asked for."""

    def __init__(self, count):
        self.count, self.given = count, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def __iter__(self):
        for number in range(self.count):
            self.given += 1
            yield Entry(f"picture-of-the-camera-{number}.jpg")


def test_a_large_directory_takes_little_memory_for_each_name(tmp_path, monkeypatch):
    count = 20_000
    monkeypatch.setattr(os, "scandir", lambda _: Scan(count))
    tracemalloc.start()
    try:
        found = list_pictures(tmp_path)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == count
    assert found[10].endswith("camera-10.jpg")
    # Bytes for each file: its name, and for a while its sort key.
    assert kept / count < 130
    assert most / count < 350


def test_a_directory_beyond_the_limit_is_refused_without_reading_on(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "MOST_FILES", 100)
    endless = Scan(10**9)
    monkeypatch.setattr(os, "scandir", lambda _: endless)
    with pytest.raises(InvalidInputError, match="more than 100 files; name a part of them"):
        list_pictures(tmp_path)
    assert endless.given == 101


def test_a_pattern_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "MOST_FILES", 2)
    touch(tmp_path, "a.png", "b.png", "sub/c.png")
    assert len(match_files(f"{tmp_path}/*.png")) == 2
    with pytest.raises(InvalidInputError, match="more than 2 files"):
        match_files(f"{tmp_path}/**/*.png")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["p2.png", "p10.png"]),
        ("p[0-9].png", ["p2.png"]),
        ("p??.*", ["p10.jpg", "p10.png"]),
        ("*/*.png", ["a/p1.png"]),
        ("**/*.png", ["a/b/p3.png", "a/p1.png", "p2.png", "p10.png"]),
        ("a/**/*.png", ["a/b/p3.png", "a/p1.png"]),
        ("**/b/*", ["a/b/p3.png"]),
        ("**/b/**", ["a/b/p3.png"]),
        ("a/**", ["a/b/p3.png", "a/p1.png"]),
        ("**/p3.png", ["a/b/p3.png"]),
    ],
)
def test_patterns_match_files_in_natural_order(tmp_path, monkeypatch, pattern, expected):
    touch(tmp_path, "p10.png", "p10.jpg", "p2.png", "a/p1.png", "a/b/p3.png")
    touch(tmp_path, ".hidden.png", "a/.hidden/p4.png")
    (tmp_path / "p5.png").mkdir()
    assert below(tmp_path, match_files(f"{tmp_path}/{pattern}")) == expected
    monkeypatch.chdir(tmp_path)
    assert list(match_files(pattern)) == expected


def test_a_pattern_without_a_match_is_named(tmp_path):
    for pattern in ("*.jpg", "**/*.jpg", "missing/**/*.jpg"):
        with pytest.raises(MissingFileError, match="No file matches"):
            match_files(f"{tmp_path}/{pattern}")


def test_links_in_a_circle_are_walked_once(tmp_path):
    """Followed blindly, two links that lead back make 2**40 paths."""
    touch(tmp_path, "a/p1.png", "b/p2.png")
    for name in ("one", "two"):
        (tmp_path / "a" / name).symlink_to(tmp_path)
        (tmp_path / "b" / name).symlink_to(tmp_path / "a")
    assert below(tmp_path, match_files(f"{tmp_path}/**/*.png")) == ["a/p1.png", "b/p2.png"]


def test_linked_directories_are_searched_too(tmp_path):
    touch(tmp_path, "elsewhere/p1.png", "photos/p2.png")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    found = match_files(f"{tmp_path}/photos/**/*.png")
    assert below(tmp_path, found) == ["photos/more/p1.png", "photos/p2.png"]


def test_a_deep_tree_is_no_recursion(tmp_path):
    place = tmp_path
    for _ in range(300):
        place /= "d"
    place.mkdir(parents=True)
    touch(place, "p1.png")
    assert len(match_files(f"{tmp_path}/**/*.png")) == 1


@given(st.lists(st.integers(0, 10**30), max_size=8))
def test_numbers_in_names_sort_by_value(numbers):
    expected = [f"photos/img{number}.jpg" for number in sorted(numbers)]
    assert natural_order(f"photos/img{number}.jpg" for number in numbers) == expected


@pytest.mark.parametrize(
    "ordered",
    [
        ["img0008.jpg", "img9.jpg", "img010.jpg"],
        ["a/z.jpg", "a1/b.jpg", "a2/a.jpg", "ab/a.jpg"],
        ["Apple2.jpg", "apple10.jpg", "Banana1.jpg"],
        ["a", "a1", "a1b", "a2", "a10", "ab"],
        ["x1y2", "x1y10", "x2y1"],
    ],
)
def test_the_order_is_the_natural_one(ordered):
    assert natural_order(reversed(ordered)) == ordered


@given(st.lists(st.text(max_size=6), max_size=6))
def test_the_order_does_not_depend_on_the_one_before(texts):
    assert natural_order(texts) == natural_order(texts[::-1])
