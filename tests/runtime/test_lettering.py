from __future__ import annotations

import pytest
from PIL import ImageFont

from edgedet.runtime import lettering
from edgedet.runtime.lettering import label_size, writable


@pytest.fixture
def no_system_fonts(monkeypatch):
    monkeypatch.setattr(lettering, "_SYSTEM_FONTS", ())
    lettering._writable.cache_clear()
    yield
    lettering._writable.cache_clear()


@pytest.fixture
def system_font():
    for name in lettering._SYSTEM_FONTS:
        if lettering.load(16, name) is not None:
            return name
    pytest.skip("this system has no font with a known name")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("traffic light", "traffic light"),
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("bell\x07\x00\u200b\u202e", "bell"),
        ("héron cendré", "heron cendre"),
        ("Straße", "Strasse"),
        ("Å", "A"),
        ("ﬁsh", "fish"),
        ("e\u0301", "e"),
        ("漢字 7", "?? 7"),
        ("🙂", "?"),
        ("", ""),
    ],
)
def test_without_system_fonts_names_are_spelled_in_ascii(no_system_fonts, text, written):
    assert writable(text) == (written, None)


def test_a_system_font_writes_what_the_built_in_one_lacks(system_font):
    assert writable("plain") == ("plain", None)
    text, font = writable("héron")
    assert text == "héron"
    assert font is not None
    # Every letter is its own shape, not the box for a letter that is missing.
    shapes = {lettering._shape(lettering.load(16, font), letter) for letter in "héron\uffff"}
    assert len(shapes) == 6


def test_letters_that_no_font_has_are_replaced_with_system_fonts_too():
    assert writable("x\U0010fffe") == ("x", None)  # no character at all
    assert writable("x\U0001f9ff\u1e921\U00016a4f")[0].startswith("x")


def test_labels_are_as_high_as_each_other_and_grow_with_their_texts():
    width, height = label_size(("cat",), 20)
    assert label_size(("egg",), 20)[1] == label_size(("A",), 20)[1] == height >= 20
    assert label_size(("cat", ""), 20) == (width, height)
    longer = label_size(("cat", "  93%"), 20)
    assert longer[0] > 1.5 * width
    assert label_size(("cat",), 60)[0] == pytest.approx(3 * width, rel=0.1)


def test_rows_of_texts_are_as_wide_as_one_text():
    parts = label_size(("traffic light", "  93%"), 20)[0]
    assert parts == pytest.approx(label_size(("traffic light  93%",), 20)[0], abs=2)


def test_a_bitmap_font_stands_in_without_freetype(monkeypatch):
    bitmap = ImageFont.load_default_imagefont()

    def load_default(size=None):
        if size is not None:
            raise ImportError("no FreeType")
        return bitmap

    monkeypatch.setattr(ImageFont, "load_default", load_default)
    lettering.load.cache_clear()
    lettering._extent.cache_clear()
    try:
        assert label_size(("cat",), 20)[0] > 10
    finally:
        lettering.load.cache_clear()
        lettering._extent.cache_clear()
