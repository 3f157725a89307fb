"""Read with torchvision what `edgedet data convert` wrote, and compare every box.

Needs torch and torchvision beside edgedet's own requirements for `edgedet data`:

    python tests/oracles/torchvision_readers.py DATA.yaml

DATA.yaml must hold JPEG pictures, because torchvision's reader of VOC looks for no others.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from torchvision.datasets import CocoDetection, VOCDetection

from edgedet.data import DetectionDataset, Sample, load_dataset
from edgedet.data.converting import convert_dataset
from edgedet.data.description import read_splits


def check_coco(folder: Path, dataset: DetectionDataset) -> tuple[int, float]:
    """Number of boxes that `CocoDetection` gives, and the farthest edge from ours in pixels."""
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = CocoDetection(
            str(folder / "images" / dataset.name),
            str(folder / "annotations" / f"{dataset.name}.json"),
        )
    sample_of = {sample.image_id: sample for sample in dataset.samples}
    assert set(theirs.ids) == set(sample_of)
    boxes, farthest = 0, 0.0
    for index, image_id in enumerate(theirs.ids):
        picture, annotations = theirs[index]
        sample = sample_of[image_id]
        found = np.array([entry["bbox"] for entry in annotations], np.float64).reshape(-1, 4)
        found[:, 2:] += found[:, :2]
        names = [theirs.coco.cats[entry["category_id"]]["name"] for entry in annotations]
        farthest = max(farthest, compared(dataset, sample, picture.size, found, names))
        boxes += len(found)
    return boxes, farthest


def check_voc(folder: Path, dataset: DetectionDataset) -> tuple[int, float]:
    """The same with `VOCDetection`, which looks for `VOCdevkit/VOC2012` in a folder."""
    year = folder / "root" / "VOCdevkit"
    year.mkdir(parents=True, exist_ok=True)
    link = year / "VOC2012"
    if not link.exists():
        link.symlink_to(folder)
    theirs = VOCDetection(str(folder / "root"), year="2012", image_set=dataset.name)
    sample_of = {sample.path.stem: sample for sample in dataset.samples}
    assert len(theirs) == len(sample_of)
    boxes, farthest = 0, 0.0
    for index in range(len(theirs)):
        picture, target = theirs[index]
        annotation = target["annotation"]
        sample = sample_of[Path(annotation["filename"]).stem]
        objects = annotation.get("object", [])
        corners = [
            [float(entry["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")]
            for entry in objects
        ]
        # VOC counts from 1 and names the last pixel.
        found = np.array(corners).reshape(-1, 4) - [1, 1, 0, 0]
        names = [entry["name"] for entry in objects]
        farthest = max(farthest, compared(dataset, sample, picture.size, found, names))
        boxes += len(found)
    return boxes, farthest


def compared(
    dataset: DetectionDataset,
    sample: Sample,
    size: tuple[int, int],
    found: np.ndarray,
    names: list[str],
) -> float:
    """How far the farthest edge is from ours in pixels; sizes and classes must be the same."""
    assert size == (sample.width, sample.height), sample.path
    assert names == [dataset.labels[index] for index in sample.classes], sample.path
    assert found.shape == sample.boxes.shape, sample.path
    return float(np.abs(found - sample.boxes).max(initial=0))


def main() -> None:
    """Convert every split to COCO and VOC, and read both with torchvision."""
    data = sys.argv[1]
    worst = 0.0
    for to, check in (("coco", check_coco), ("voc", check_voc)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / to
            written = convert_dataset(data, folder, to, link=True).data
            for split in read_splits(written):
                dataset = load_dataset(written, split)
                boxes, farthest = check(folder, dataset)
                worst = max(worst, farthest)
                pictures = len(dataset.samples)
                print(f"{to} {split}: {pictures} pictures, {boxes} boxes, {farthest:.2g} px apart")
    sys.exit(worst > 1e-3)


if __name__ == "__main__":
    main()
