"""`Detections`: what a detector found in one image."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import arguments, files, images, ops
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.runtime import drawing, serialization
from edgedet.runtime.sources import ImageArray

FloatArray = npt.NDArray[np.float32]

# Longest side of the picture that a notebook shows: larger ones would fill the notebook's file.
_NOTEBOOK_SIDE = 1024


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """Boxes found in one image, by descending confidence.

    Two are equal when they hold the same detections of the same image; `speed` and the pixels
    don't count.

    Attributes:
        xyxy: boxes as `x0, y0, x1, y1` in pixels of the original image, float32 [N, 4].
        confidence: scores in 0..1, float32 [N].
        class_id: index into `names`, int64 [N].
        names: every class the model knows, in the order of the class ids.
        category_ids: the data set's own id of each class; `0, 1, ...` by default.
        orig_shape: (height, width) of the original image.
        path: the image file, None for an image from memory.
        speed: milliseconds for `preprocess`, `inference` and `postprocess`, without reading files.
        image: the RGB image itself where it came from memory; drawing reads it again from `path`.
        frame: number of the frame in its video, from 0; None for a picture.
        time: seconds since the beginning of the video; None for a picture.

    Raises:
        InvalidInputError: arrays whose shapes don't agree, or a class id without a name.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: npt.NDArray[np.int64]
    names: tuple[str, ...]
    category_ids: tuple[int, ...] = ()
    orig_shape: tuple[int, int] = (0, 0)
    path: str | None = None
    speed: Mapping[str, float] = field(default_factory=dict)
    image: ImageArray | None = None
    frame: int | None = None
    time: float | None = None

    def __post_init__(self) -> None:
        xyxy = np.asarray(self.xyxy, np.float32)
        confidence = np.asarray(self.confidence, np.float32)
        class_id = np.asarray(self.class_id, np.int64)
        if xyxy.ndim != 2 or xyxy.shape[1] != 4:
            raise InvalidInputError(f"xyxy must have shape [N, 4], not {list(xyxy.shape)}.")
        count = len(xyxy)
        if confidence.shape != (count,) or class_id.shape != (count,):
            raise InvalidInputError(
                f"{count} boxes need as many scores and class ids, not {list(confidence.shape)} "
                f"and {list(class_id.shape)}."
            )
        # min() and max() of a small array cost more than everything else here.
        if not all(0 <= index < len(self.names) for index in class_id.tolist()):
            raise InvalidInputError(f"class_id must be 0 to {len(self.names) - 1} (see names).")
        if self.category_ids and len(self.category_ids) != len(self.names):
            raise InvalidInputError(
                f"category_ids has {len(self.category_ids)} entries for {len(self.names)} names."
            )
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "confidence", confidence)
        object.__setattr__(self, "class_id", class_id)
        if not self.category_ids:
            object.__setattr__(self, "category_ids", tuple(range(len(self.names))))

    @classmethod
    def empty(cls, names: Sequence[str] = (), orig_shape: tuple[int, int] = (0, 0)) -> Detections:
        """No detections at all."""
        return cls(
            np.empty((0, 4), np.float32),
            np.empty(0, np.float32),
            np.empty(0, np.int64),
            tuple(names),
            orig_shape=orig_shape,
        )

    @classmethod
    def merge(cls, parts: Iterable[Detections], iou: float | None = None) -> Detections:
        """Several results of one image as one, by descending confidence.

        Stages of `speed` are summed. Equal scores stay in the order of the parts.

        Args:
            parts: at least one; all with the same names, category ids and size of the image.
            iou: overlap beyond which the less confident of two boxes of a class goes, 0 to 1; by
                default all boxes stay.

        Raises:
            InvalidInputError: nothing to merge, or parts of different models or images.
        """
        parts = list(parts)
        if not all(isinstance(part, Detections) for part in parts):
            raise InvalidInputError("merge() takes a list of Detections.")
        if not parts:
            raise InvalidInputError("There is nothing to merge; pass at least one Detections.")
        first = parts[0]
        for name in ("names", "category_ids", "orig_shape"):
            if any(getattr(part, name) != getattr(first, name) for part in parts):
                raise InvalidInputError(
                    f"The detections to merge differ in {name}; merge those of one model and image."
                )
        picture = {name: _the_one(name, parts) for name in ("path", "frame", "time")}
        xyxy = np.concatenate([part.xyxy for part in parts])
        confidence = np.concatenate([part.confidence for part in parts])
        class_id = np.concatenate([part.class_id for part in parts])
        if iou is None:
            kept = np.argsort(-confidence, kind="stable")
        else:
            kept = ops.nms(xyxy, confidence, iou, class_ids=class_id)
        speed: dict[str, float] = {}
        for part in parts:
            for stage, milliseconds in part.speed.items():
                speed[stage] = speed.get(stage, 0.0) + milliseconds
        return replace(
            first,
            xyxy=xyxy[kept],
            confidence=confidence[kept],
            class_id=class_id[kept],
            speed=speed,
            image=next((part.image for part in parts if part.image is not None), None),
            **picture,
        )

    @classmethod
    def from_dict(
        cls, content: Mapping[str, Any], names: Sequence[str] | None = None
    ) -> Detections:
        """Inverse of `to_dict`, whose rounding stays; the content is not trusted.

        Args:
            content: what `to_dict` or `to_json` gave, or one entry of the command line's
                `detections.json`.
            names: every class of the model. By default those in `content`; where there are none
                either, the labels of its detections, other classes being called by their number.

        Raises:
            InvalidInputError: something is missing, of another type, out of range or too much.
        """
        return cls(**serialization.from_dict(content, names))

    @classmethod
    def from_json(cls, text: str | bytes, names: Sequence[str] | None = None) -> Detections:
        """Inverse of `to_json`; see `from_dict`.

        Raises:
            InvalidInputError: as `from_dict`, and for a text that is no JSON or above 64 MiB.
        """
        return cls.from_dict(serialization.parse_json(text), names)

    @classmethod
    def from_txt(
        cls, path: str | os.PathLike[str], names: Sequence[str], orig_shape: tuple[int, int]
    ) -> Detections:
        """Read YOLO's text form, `class cx cy w h` and perhaps the confidence, which else is 1.

        Args:
            path: a file that `save_txt` wrote, or a label file of a data set.
            names: every class, in the order of the class ids.
            orig_shape: (height, width) of the image.

        Raises:
            MissingFileError: there is no such file.
            InvalidInputError: a line of another form or out of range, or a file above 64 MiB.
        """
        names = tuple(names)
        found = serialization.from_yolo(path, len(names), orig_shape)
        return cls(**found, names=names, orig_shape=(orig_shape[0], orig_shape[1]))

    def __len__(self) -> int:
        return len(self.confidence)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("xyxy", "confidence", "class_id")
        ) and all(
            getattr(self, name) == getattr(other, name)
            for name in ("names", "category_ids", "orig_shape", "path", "frame", "time")
        )

    # The arrays can be changed.
    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[Any]) -> Detections:
        """The chosen detections: an index, a slice, a boolean mask [N], or indices.

        Raises:
            IndexError: an index out of range, or a mask of another length.
        """
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            if not -len(self) <= index < len(self):
                raise IndexError(f"there are {len(self)} detections, no number {index}")
            index = np.asarray([index])
        elif not isinstance(index, slice):
            index = np.asarray(index)
            if index.size == 0 and index.dtype != np.bool_:
                index = index.astype(np.int64)
            if index.ndim != 1 or index.dtype.kind not in "biu":
                raise IndexError("index by a number, a slice, a boolean mask or a list of numbers")
        return replace(
            self,
            xyxy=self.xyxy[index],
            confidence=self.confidence[index],
            class_id=self.class_id[index],
        )

    def __iter__(self) -> Iterator[Detections]:
        """Each detection as a `Detections` of length 1."""
        return (self[index] for index in range(len(self)))

    def where(self, label: str | Iterable[str]) -> Detections:
        """The detections of one class, or of several, by name.

        Raises:
            InvalidInputError: a name that the model does not know.
        """
        wanted = {label} if isinstance(label, str) else set(label)
        unknown = sorted(map(str, wanted.difference(self.names)))
        if unknown:
            raise InvalidInputError(
                f"There is no class {arguments.shown(unknown[0])}; the classes are "
                f"{arguments.shown(list(self.names))}."
            )
        chosen = [index for index, name in enumerate(self.names) if name in wanted]
        return self[np.isin(self.class_id, chosen)]

    @property
    def labels(self) -> list[str]:
        """The class name of each detection."""
        return [self.names[index] for index in self.class_id]

    @property
    def xywh(self) -> FloatArray:
        """Boxes as centre, width and height in pixels, float32 [N, 4]."""
        corner, size = self.xyxy[:, :2], self.xyxy[:, 2:] - self.xyxy[:, :2]
        return np.concatenate([corner + size / 2, size], axis=1)

    @property
    def xyxyn(self) -> FloatArray:
        """`xyxy` in 0..1 of the image's width and height, float32 [N, 4].

        Raises:
            InvalidInputError: the size of the image is not known.
        """
        return self.xyxy / self._sides()

    @property
    def xywhn(self) -> FloatArray:
        """`xywh` in 0..1 of the image's width and height, float32 [N, 4].

        Raises:
            InvalidInputError: the size of the image is not known.
        """
        return self.xywh / self._sides()

    def summary(self) -> str:
        """What was found, as in `3 seven, 1 two`: the most frequent class first."""
        counts = Counter(self.class_id.tolist())
        order = sorted(counts, key=lambda index: (-counts[index], index))
        return ", ".join(f"{counts[index]} {self.names[index]}" for index in order) or "nothing"

    def __repr__(self) -> str:
        height, width = self.orig_shape
        place = "" if self.path is None else f" in {self.path}"
        place += "" if self.frame is None else f", frame {self.frame}"
        return f"<Detections: {self.summary()}{place} ({width}x{height})>"

    def plot(
        self,
        *,
        labels: bool = True,
        conf: bool = True,
        line_width: int | None = None,
        font_size: int | None = None,
    ) -> ImageArray:
        """The picture with boxes, labels and scores drawn on it, RGB uint8 [H, W, 3].

        Args:
            labels: write the class names.
            conf: write the scores.
            line_width: pixels; by default it grows with the picture.
            font_size: pixels; by default it grows with the picture, and shrinks where labels
                would meet.

        Raises:
            InvalidInputError: the image is neither kept nor readable from `path`, or an argument
                is out of range.
        """
        return drawing.draw(
            self._picture(),
            self,
            labels=labels,
            conf=conf,
            line_width=line_width,
            font_size=font_size,
        )

    def save(self, path: str | os.PathLike[str], **style: Any) -> None:
        """Write the annotated picture; the suffix chooses the format.

        Args:
            path: `.png`, `.jpg`, `.webp`, `.bmp`, `.tif` or another that Pillow writes.
            style: as for `plot`.

        Raises:
            InvalidInputError: a suffix that names no picture format, or as `plot`.
            EdgeDetError: the file can't be written.
        """
        target = Path(path)
        kind = Image.registered_extensions().get(target.suffix.lower())
        if kind not in Image.SAVE:
            raise InvalidInputError(f"{target} names no picture format; use .png or .jpg.")
        picture = Image.fromarray(self.plot(**style))
        options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
        with files.replacing(target) as aside:
            try:
                picture.save(aside, format=kind, **options)
            except (OSError, ValueError) as error:
                # Errors of the disk have a number; the others are limits of the format.
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise InvalidInputError(
                    f"{target} can't be written as {kind} ({error}); use .png."
                ) from None

    def show(self) -> None:
        """Open the annotated picture in the system's image viewer."""
        Image.fromarray(self.plot()).show()

    def _repr_png_(self) -> bytes | None:
        """The annotated picture for a notebook, of 1024 pixels at most; None without a picture."""
        try:
            whole = self._picture()
        except EdgeDetError:
            return None
        # Made small before it is drawn on, so that the letters stay readable.
        picture = Image.fromarray(np.ascontiguousarray(whole))
        picture.thumbnail((_NOTEBOOK_SIDE, _NOTEBOOK_SIDE))
        ratio = (picture.width / whole.shape[1], picture.height / whole.shape[0])
        small = replace(self, xyxy=self.xyxy * np.array((*ratio, *ratio), np.float32))
        data = io.BytesIO()
        Image.fromarray(drawing.draw(np.asarray(picture), small)).save(data, "PNG")
        return data.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """What was found and where, as plain values that JSON can hold.

        Boxes are rounded to 0.01 pixels and scores to 0.0001.
        """
        return serialization.to_dict(self)

    def to_json(self) -> str:
        """`to_dict` as a JSON object, with `names` and `category_ids` of every class.

        Raises:
            InvalidInputError: a box or a score that is not finite.
        """
        return serialization.to_json(self)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results: `image_id`, `category_id`, `bbox` as x, y, width, height, and `score`."""
        return serialization.to_coco(self, image_id)

    def save_txt(self, path: str | os.PathLike[str]) -> None:
        """Write YOLO's text form: a line `class cx cy w h confidence` each, in 0..1 of the image.

        Raises:
            InvalidInputError: the size of the image is not known.
            EdgeDetError: the file can't be written.
        """
        files.write_text(path, serialization.to_yolo(self))

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row per detection.

        The columns are `xmin ymin xmax ymax confidence class name`, then `path`, `frame` and `time`
        where they are known.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return serialization.to_pandas(self)

    def to_supervision(self) -> Any:
        """The same as a `supervision.Detections`.

        Raises:
            MissingDependencyError: supervision is not installed.
        """
        return serialization.to_supervision(self)

    def _sides(self) -> FloatArray:
        height, width = self.orig_shape
        if not (height and width):
            raise InvalidInputError("orig_shape is not known; parts of the image need its size.")
        return np.array([width, height, width, height], np.float32)

    def _picture(self) -> ImageArray:
        if self.image is not None:
            return self.image
        # The path of a frame is its video's.
        if self.path is None or self.frame is not None:
            raise InvalidInputError("There is no picture to draw on: set image or path.")
        picture = images.read_image(Path(self.path))
        if picture.shape[:2] != self.orig_shape:
            raise InvalidInputError(
                f"{self.path} has changed since detection: its size is no longer "
                f"{self.orig_shape[1]}x{self.orig_shape[0]}; run detect again."
            )
        return picture


def _the_one(name: str, parts: Sequence[Detections]) -> Any:
    """What the parts that know it say; they must agree."""
    said = {getattr(part, name) for part in parts} - {None}
    if len(said) > 1:
        raise InvalidInputError(
            f"The detections to merge are of different images (their {name} differs)."
        )
    return said.pop() if said else None
