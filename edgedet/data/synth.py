"""A synthetic detection dataset of handwritten digits, written as COCO json plus `data.yaml`."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from edgedet.data.digit_glyphs import SPLITS, digit_samples
from edgedet.data.digit_scenes import SceneOptions, scene
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.files import explained

# A scene takes 21 kB as JPEG and 76 kB as PNG, which can't compress the sensor noise.
# Without chroma subsampling thin coloured strokes keep their colour.
_JPEG_QUALITY = 92
_PREVIEW_SCENES = 16
_PREVIEW_COLUMNS = 4
_PREVIEW_SIDE = 256
_MARKER = "synth.json"
_MARKER_KIND = "edgedet synthetic digits"
_ENTRIES = frozenset({"annotations", "data.yaml", "images", "preview.png", _MARKER})
# Fewer scenes than this are drawn in the calling process: starting others takes longer.
_MIN_PARALLEL = 64
_CHUNK = 10

_DATA_YAML = """\
# Scenes of handwritten digits, written by `edgedet synth`; synth.json says with which options.
path: .
train:
  images: images/train
  annotations: annotations/train.json
val:
  images: images/val
  annotations: annotations/val.json
names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
# A mirrored digit is no digit.
flip: false
"""


@dataclass(frozen=True)
class SynthOptions:
    """What to generate; sizes in pixels.

    Attributes:
        images: scenes in the train split.
        val: scenes in the val split.
        size: longer side of every scene; the shorter one is 62.5% to 100% of it.
        seed: fixes every byte, with the same releases of NumPy and Pillow.
        min_digit: height of the smallest digits.
        max_digit: height of the largest digits; they also stay below 85% of the shorter side.
        max_count: most digits in a scene; those that find no place are left out.
    """

    images: int = 4000
    val: int = 500
    size: int = 256
    seed: int = 0
    min_digit: int = 12
    max_digit: int = 160
    max_count: int = 8

    def __post_init__(self) -> None:
        _check("images", self.images, 1, 1_000_000)
        _check("val", self.val, 1, 1_000_000)
        _check("size", self.size, 64, 4096)
        _check("seed", self.seed, 0, 2**63 - 1)
        _check("min-digit", self.min_digit, 8, self.size // 2)
        _check("max-digit", self.max_digit, self.min_digit, 4096)
        _check("max-count", self.max_count, 1, 100)

    @property
    def scene_options(self) -> SceneOptions:
        """The part of the options that a single scene depends on."""
        return SceneOptions(self.size, self.min_digit, self.max_digit, self.max_count)


@dataclass
class SynthSummary:
    """What was written: pictures and digits per split, and total size in bytes."""

    images: dict[str, int] = field(default_factory=dict)
    digits: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


@dataclass(frozen=True)
class _Drawn:
    """What one scene contributes to the annotations."""

    width: int
    height: int
    boxes: list[list[int]]
    digits: list[int]


def generate(
    directory: str | os.PathLike[str],
    options: SynthOptions | None = None,
    *,
    processes: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> SynthSummary:
    """Write a dataset of digit scenes to `directory`, whole or not at all.

    A scene depends on the seed, its split and its number only: neither the number of processes nor
    that of scenes changes it. An earlier dataset of this kind in `directory` is replaced.

    Args:
        directory: new or empty directory, or one that this function wrote.
        options: what to generate.
        processes: how many draw scenes; by default as many as the CPU has, at most 8.
        advance: called with the number of scenes finished since the last call.

    Raises:
        InvalidInputError: the directory holds something else.
        MissingDependencyError: scikit-learn is not installed.
        EdgeDetError: the disk is full, there is no permission, or a process was killed.
    """
    options = options or SynthOptions()
    for split in SPLITS:
        digit_samples(split)  # refuse before anything is created
    count = processes or min(os.cpu_count() or 1, 8)
    summary = SynthSummary()
    with _replacing_directory(Path(directory)) as root:
        for split, number in zip(SPLITS, (options.images, options.val), strict=True):
            (root / "images" / split).mkdir(parents=True)
            drawn = list(_draw_all(root, split, number, options, count, advance))
            annotations = root / "annotations" / f"{split}.json"
            annotations.parent.mkdir(exist_ok=True)
            annotations.write_text(_coco_json(drawn), encoding="utf-8")
            summary.images[split] = number
            summary.digits[split] = sum(len(entry.digits) for entry in drawn)
        (root / "data.yaml").write_text(_DATA_YAML, encoding="utf-8")
        marker = {"kind": _MARKER_KIND, **asdict(options)}
        (root / _MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
        _preview(root, options)
        summary.bytes = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    return summary


def _check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInputError(f"{name} must be an integer from {low} to {high}, not {value!r}.")


def _draw_all(
    root: Path,
    split: str,
    number: int,
    options: SynthOptions,
    processes: int,
    advance: Callable[[int], None] | None,
) -> Iterator[_Drawn]:
    """Draw and write the scenes of a split, in order."""
    chunks = [range(start, min(start + _CHUNK, number)) for start in range(0, number, _CHUNK)]
    arguments = [(root, split, chunk, options) for chunk in chunks]
    with _mapper(processes if number >= _MIN_PARALLEL else 1) as mapped:
        for drawn in mapped(_draw_chunk, arguments):
            if advance:
                advance(len(drawn))
            yield from drawn


@contextmanager
def _mapper(processes: int) -> Iterator[Callable[..., Any]]:
    if processes == 1:
        yield map
        return
    # Spawned, not forked: the caller may have threads (TensorFlow's, a progress bar's) running.
    context = multiprocessing.get_context("spawn")
    # Ctrl-C reaches every process of the terminal; this one alone answers it.
    pool = ProcessPoolExecutor(
        processes, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )
    try:
        yield pool.map
    except BrokenProcessPool:
        raise EdgeDetError(
            "a process that drew scenes was killed, most likely for lack of memory; "
            "close other programs and run again."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _draw_chunk(arguments: tuple[Path, str, range, SynthOptions]) -> list[_Drawn]:
    root, split, numbers, options = arguments
    drawn = []
    for number in numbers:
        picture = scene(options.seed, split, number, options.scene_options)
        coded = io.BytesIO()
        Image.fromarray(picture.pixels).save(coded, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        (root / "images" / split / _file_name(number)).write_bytes(coded.getvalue())
        drawn.append(
            _Drawn(
                width=picture.pixels.shape[1],
                height=picture.pixels.shape[0],
                boxes=picture.boxes.tolist(),
                digits=picture.digits.tolist(),
            )
        )
    return drawn


def _file_name(number: int) -> str:
    return f"{number:06d}.jpg"


def _coco_json(drawn: Sequence[_Drawn]) -> str:
    """COCO's detection format; ids start at 1 because pycocotools takes 0 for "no match"."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(drawn):
        images.append(
            {
                "id": number + 1,
                "file_name": _file_name(number),
                "width": entry.width,
                "height": entry.height,
            }
        )
        for (x0, y0, x1, y1), digit in zip(entry.boxes, entry.digits, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": digit + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, separators=(",", ":")) + "\n"


def _preview(root: Path, options: SynthOptions) -> None:
    """A contact sheet of the first training scenes with their boxes, for people to look at."""
    count = min(_PREVIEW_SCENES, options.images)
    cell = min(options.size, _PREVIEW_SIDE) + 4
    columns = min(_PREVIEW_COLUMNS, count)
    sheet = Image.new("RGB", (columns * cell, -(-count // columns) * cell), (32, 32, 32))
    for number in range(count):
        drawn = scene(options.seed, "train", number, options.scene_options)
        picture = Image.fromarray(drawn.pixels)
        picture.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
        ratio = picture.width / drawn.pixels.shape[1]
        draw = ImageDraw.Draw(picture)
        for box, digit in zip(drawn.boxes.tolist(), drawn.digits.tolist(), strict=True):
            x0, y0, x1, y1 = (edge * ratio for edge in box)
            draw.rectangle((x0 - 1, y0 - 1, x1, y1), outline=(255, 0, 0))
            draw.text((x0 + 1, y0 - 11 if y0 >= 11 else y1), str(digit), fill=(255, 0, 0))
        sheet.paste(picture, (number % columns * cell, number // columns * cell))
    sheet.save(root / "preview.png")


@contextmanager
def _replacing_directory(target: Path) -> Iterator[Path]:
    """Yield a directory to fill; on success its content becomes `target`, else it is removed."""
    _check_replaceable(target)
    try:
        # In an existing directory, which may be a mount point or the shell's own, the new content
        # waits inside; otherwise beside it.
        exists = target.is_dir()
        if not exists:
            target.parent.mkdir(parents=True, exist_ok=True)
        holder = target if exists else target.parent
        aside = holder / f".{target.name}.{secrets.token_hex(4)}.partial"
        aside.mkdir()
        try:
            yield aside
            if exists:
                _swap_content(aside, target)
            else:
                aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise explained(error, target) from error


def _check_replaceable(target: Path) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir():
        raise InvalidInputError(f"{target} is not a directory; name a new or empty one.")
    try:
        entries = {entry.name for entry in target.iterdir()}
    except OSError as error:
        raise explained(error, target) from error
    if entries and not (entries <= _ENTRIES and _is_marked(target)):
        other = min(entries - _ENTRIES or entries)
        raise InvalidInputError(
            f"{target} holds {other}, which `edgedet synth` did not write; "
            "name a new or empty directory."
        )


def _is_marked(target: Path) -> bool:
    with suppress(OSError, ValueError):
        marker = json.loads((target / _MARKER).read_bytes())
        return isinstance(marker, dict) and marker.get("kind") == _MARKER_KIND
    return False


def _swap_content(aside: Path, target: Path) -> None:
    """Move the content of `aside` up into `target`, and what was there before into `aside`."""
    retired = aside / ".retired"
    retired.mkdir()
    new = [entry.name for entry in aside.iterdir() if entry != retired]
    moves = [(target / name, retired / name) for name in sorted(_ENTRIES)]
    moves += [(aside / name, target / name) for name in new]
    done: list[tuple[Path, Path]] = []
    try:
        for source, destination in moves:
            if source.exists():
                source.rename(destination)
                done.append((source, destination))
    except OSError:
        for source, destination in reversed(done):
            with suppress(OSError):
                destination.rename(source)
        raise
