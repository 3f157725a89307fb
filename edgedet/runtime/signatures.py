"""Telling an encoded picture from everything else by its first bytes."""

from __future__ import annotations

import re

# As many as any signature here needs.
HEAD_BYTES = 32

# Of an encoded picture that is no file: from a server or a pipe.
MOST_BYTES = 64 * 2**20

_PICTURE = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|BM.{4}\0\0\0\0"
    rb"|RIFF.{4}WEBP"
    rb"|(II[*+]\0|MM\0[*+])"  # TIFF and BigTIFF
    rb"|P[1-6]\s"  # PBM, PGM, PPM
    rb"|.{4}ftyp(avif|avis|mif1|msf1)"  # AVIF
    rb"|\0\0\1\0"  # ICO
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",  # JPEG 2000
    re.DOTALL,
)


def is_picture(head: bytes | bytearray) -> bool:
    """Whether a file that begins with `head` (`HEAD_BYTES` are enough) is a picture."""
    return _PICTURE.match(head) is not None
