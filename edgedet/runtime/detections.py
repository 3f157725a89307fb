"""`Detections`: what a detector found in one image."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import files, images
from edgedet.errors import InvalidInputError, MissingDependencyError
from edgedet.runtime import drawing
from edgedet.runtime.sources import ImageArray


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes found in one image, by descending confidence.

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

    Raises:
        InvalidInputError: arrays whose shapes don't agree, or a class id without a name.
    """

    xyxy: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int64]
    names: tuple[str, ...]
    category_ids: tuple[int, ...] = ()
    orig_shape: tuple[int, int] = (0, 0)
    path: str | None = None
    speed: Mapping[str, float] = field(default_factory=dict)
    image: ImageArray | None = field(default=None, repr=False)

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

    def __len__(self) -> int:
        return len(self.confidence)

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

    @property
    def labels(self) -> list[str]:
        """The class name of each detection."""
        return [self.names[index] for index in self.class_id]

    def plot(self) -> ImageArray:
        """The picture with boxes, labels and scores drawn on it, RGB uint8 [H, W, 3].

        Raises:
            InvalidInputError: the image is neither kept nor readable from `path`.
        """
        return drawing.draw(self._picture(), self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the annotated picture; the suffix chooses the format.

        Raises:
            InvalidInputError: a suffix that names no picture format.
            EdgeDetError: the file can't be written.
        """
        target = Path(path)
        kind = Image.registered_extensions().get(target.suffix.lower())
        if kind not in Image.SAVE:
            raise InvalidInputError(f"{target} names no picture format; use .png or .jpg.")
        picture = Image.fromarray(self.plot())
        options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
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

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, as plain values that JSON can hold."""
        height, width = self.orig_shape
        return {
            "path": self.path,
            "width": width,
            "height": height,
            "speed": dict(self.speed),
            "detections": [
                {
                    "label": self.names[index],
                    "class_id": index,
                    "category_id": self.category_ids[index],
                    "confidence": round(score, 4),
                    "xyxy": [round(side, 2) for side in box],
                }
                for box, score, index in self._rows()
            ],
        }

    def to_json(self) -> str:
        """`to_dict` as a JSON object."""
        return json.dumps(self.to_dict())

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results: `image_id`, `category_id`, `bbox` as x, y, width, height, and `score`."""
        return [
            {
                "image_id": image_id,
                "category_id": self.category_ids[index],
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "score": score,
            }
            for box, score, index in self._rows()
        ]

    def save_txt(self, path: str | os.PathLike[str]) -> None:
        """Write YOLO's text form: a line `class cx cy w h confidence` each, in 0..1 of the image.

        Raises:
            InvalidInputError: the size of the image is not known.
            EdgeDetError: the file can't be written.
        """
        height, width = self.orig_shape
        if len(self) and not (height and width):
            raise InvalidInputError("orig_shape is not known; YOLO's form needs the image size.")
        lines = [
            f"{index} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
            f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f} {score:.4f}\n"
            for (x0, y0, x1, y1), score, index in self._rows()
        ]
        files.write_text(path, "".join(lines))

    def to_supervision(self) -> Any:
        """The same as a `supervision.Detections`.

        Raises:
            MissingDependencyError: supervision is not installed.
        """
        try:
            supervision = importlib.import_module("supervision")
        except ImportError:
            raise MissingDependencyError(
                "to_supervision() needs the package supervision; install it with "
                "`pip install supervision`."
            ) from None
        return supervision.Detections(
            xyxy=self.xyxy,
            confidence=self.confidence,
            class_id=self.class_id,
            data={"class_name": np.asarray(self.labels, dtype=np.str_)},
        )

    def _rows(self) -> Iterator[tuple[list[float], float, int]]:
        return zip(
            self.xyxy.tolist(), self.confidence.tolist(), self.class_id.tolist(), strict=True
        )

    def _picture(self) -> ImageArray:
        if self.image is not None:
            return self.image
        if self.path is None:
            raise InvalidInputError("There is no picture to draw on: set image or path.")
        picture = images.read_image(Path(self.path))
        if picture.shape[:2] != self.orig_shape:
            raise InvalidInputError(
                f"{self.path} has changed since detection: its size is no longer "
                f"{self.orig_shape[1]}x{self.orig_shape[0]}; run detect again."
            )
        return picture
