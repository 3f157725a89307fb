from __future__ import annotations

import os
import tempfile

import pytest

from edgedet.cli.native_log import without_native_log


def test_informational_lines_of_the_engines_are_dropped(capfd):
    with without_native_log():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"I0000 00:00:17.744886 19622 port.cc:153] oneDNN custom operations are on.\n")
    assert capfd.readouterr() == ("", "")


def test_everything_else_is_kept_in_order(capfd):
    with without_native_log():
        os.write(2, b"WARNING: slow\nINFO: fine\nERROR: wrong\n")
        print("result")
    assert capfd.readouterr() == ("result\n", "WARNING: slow\nERROR: wrong\n")


def test_standard_error_is_back_after_an_error(capfd):
    with pytest.raises(ValueError, match="wrong"), without_native_log():
        os.write(2, b"ERROR: before\n")
        raise ValueError("wrong")
    os.write(2, b"INFO: after\n")
    assert capfd.readouterr().err == "ERROR: before\nINFO: after\n"


def test_without_a_temporary_directory_nothing_is_held_back(capfd, monkeypatch):
    def fail():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    with without_native_log():
        os.write(2, b"INFO: fine\n")
    assert capfd.readouterr().err == "INFO: fine\n"
