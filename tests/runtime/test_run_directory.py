from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from edgedet.cli.run_directory import RunDirectory
from edgedet.errors import EdgeDetError, InvalidInputError


def test_names_are_counted_up(tmp_path):
    names = [RunDirectory(tmp_path, "detect").path().name for _ in range(3)]
    assert names == ["exp", "exp2", "exp3"]
    assert RunDirectory(tmp_path, "train").path() == tmp_path / "train" / "exp"


def test_a_given_name_is_counted_up_as_well(tmp_path):
    names = [RunDirectory(tmp_path, "detect", "night").path().name for _ in range(2)]
    assert names == ["night", "night2"]


def test_nothing_is_made_before_it_is_needed(tmp_path):
    run = RunDirectory(tmp_path / "runs", "detect")
    assert not (tmp_path / "runs").exists()
    assert run.path() == run.path()
    assert [*tmp_path.rglob("*")] == [
        tmp_path / "runs",
        tmp_path / "runs/detect",
        tmp_path / "runs/detect/exp",
    ]


def test_what_stayed_empty_is_removed(tmp_path):
    run = RunDirectory(tmp_path / "a" / "runs", "detect")
    run.path()
    run.discard_if_empty()
    assert [*tmp_path.iterdir()] == []


def test_what_holds_results_stays(tmp_path):
    run = RunDirectory(tmp_path / "runs", "detect")
    (run.path() / "result.txt").write_text("found")
    run.discard_if_empty()
    assert (tmp_path / "runs/detect/exp/result.txt").exists()


def test_directories_that_were_there_stay(tmp_path):
    (tmp_path / "runs").mkdir()
    run = RunDirectory(tmp_path / "runs", "detect")
    run.path()
    run.discard_if_empty()
    assert [*tmp_path.rglob("*")] == [tmp_path / "runs"]


def test_runs_started_at_once_get_their_own(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        paths = [*pool.map(lambda _: RunDirectory(tmp_path, "detect").path(), range(64))]
    assert len(set(paths)) == 64


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "/tmp", "nul\0"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(InvalidInputError, match="must be a plain name"):
        RunDirectory(tmp_path, "detect", name)


@pytest.mark.parametrize("name", ["n" * 300, None])
def test_places_that_can_not_be_made_are_explained(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    project = tmp_path / "file" if name is None else tmp_path
    with pytest.raises(EdgeDetError):
        RunDirectory(project, "detect", name).path()
