"""What a check needs to know of a picture: whether it can be read, its size, its likenesses."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet.data.reading import read_file
from edgedet.errors import EdgeDetError, MissingFileError
from edgedet.images import read_image_bytes

_MAX_BYTES = 2**31
# A picture may take half a gigabyte once decoded.
_MAX_THREADS = 4
SMALL = 16


@dataclass(frozen=True, eq=False)
class PictureFacts:
    """One picture, decoded once.

    Attributes:
        path: the file.
        error: the sentence why it can't be read; None if it can.
        missing: whether there is no such file.
        width: in pixels, upright.
        height: in pixels, upright.
        digest: hash of the file's bytes; empty if it can't be read.
        gradient: difference hash, 64 bits (Krawetz, "Kind of Like That", 2013): whether each of 8 x
            8 grey cells is darker than the next to its right.
        small: [16, 16] uint8, the whole picture in grey.
    """

    path: str
    error: str | None = None
    missing: bool = False
    width: int = 0
    height: int = 0
    digest: bytes = b""
    gradient: int = 0
    small: npt.NDArray[np.uint8] | None = None


def picture_facts(
    paths: Sequence[str], advance: Callable[[int], None] | None = None
) -> list[PictureFacts]:
    """Decode every picture, several at a time.

    Args:
        paths: the pictures.
        advance: called with the number of pictures done since the last call.
    """
    threads = min(os.cpu_count() or 1, _MAX_THREADS)
    found = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            for facts in _in_order(pool, paths, 4 * threads):
                found.append(facts)
                if advance:
                    advance(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _in_order(pool: ThreadPoolExecutor, paths: Sequence[str], ahead: int) -> Iterator[PictureFacts]:
    for start in range(0, len(paths), ahead):
        yield from pool.map(_facts, paths[start : start + ahead])


def _facts(path: str) -> PictureFacts:
    try:
        data = read_file(path, _MAX_BYTES, "replace it by a picture")
        pixels = read_image_bytes(data, path)
    except EdgeDetError as error:
        return PictureFacts(path, str(error), missing=isinstance(error, MissingFileError))
    except MemoryError:
        return PictureFacts(path, f"{path} needs more memory than there is; scale it down.")
    grey = Image.fromarray(pixels).convert("L")
    cells = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = (cells[:, :-1] < cells[:, 1:]).ravel()
    return PictureFacts(
        path=path,
        width=pixels.shape[1],
        height=pixels.shape[0],
        digest=hashlib.blake2b(data, digest_size=16).digest(),
        gradient=int.from_bytes(np.packbits(bits).tobytes(), "big"),
        small=np.asarray(grey.resize((SMALL, SMALL), Image.Resampling.BOX)),
    )
