"""Batches for training: shuffled, augmented, padded; a seed and a step fix every byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from edgedet.data.augment import Augmentation, augment
from edgedet.data.dataset import DetectionDataset, Sample
from edgedet.images import read_image
from edgedet.spec import InputSpec

Example = tuple[Any, dict[str, Any]]


class _Augmented(grain.transforms.RandomMap):
    """Read a sample's picture and make a padded training example of it."""

    def __init__(self, spec: InputSpec, how: Augmentation, max_boxes: int) -> None:
        self.spec = spec
        self.how = how
        self.max_boxes = max_boxes

    def random_map(self, element: Sample, rng: np.random.Generator) -> Example:
        # Crowd boxes name no single object: they are not learned.
        kept = ~element.crowd
        tensor, boxes, classes = augment(
            read_image(element.path),
            element.boxes[kept],
            element.classes[kept],
            self.spec,
            rng,
            self.how,
        )
        count = min(len(boxes), self.max_boxes)
        padded_boxes = np.zeros((self.max_boxes, 4), np.float32)
        padded_classes = np.full(self.max_boxes, -1, np.int32)
        padded_boxes[:count] = boxes[:count]
        padded_classes[:count] = classes[:count]
        return tensor, {"boxes": padded_boxes, "classes": padded_classes}


def max_boxes(samples: Sequence[Sample], limit: int = 200) -> int:
    """Boxes per example that batches are padded to: the most any picture has, at most `limit`."""
    return max(1, min(limit, max((len(sample.boxes) for sample in samples), default=1)))


class TrainingBatches:
    """The batches of a whole training run, addressable by epoch.

    Every epoch has its own order and its own random choices; both follow from the seed alone, so
    that a resumed run sees what an unbroken one would have seen.

    Args:
        dataset: what to train on.
        spec: input size and normalization.
        batch_size: examples per batch; a last partial batch of an epoch is left out.
        augmentation: how pictures are changed.
        seed: fixes order and changes.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        spec: InputSpec,
        *,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.batch_size = min(batch_size, len(dataset.samples))
        self.steps = len(dataset.samples) // self.batch_size
        self._samples = dataset.samples
        self._seed = seed
        self._transform = _Augmented(spec, augmentation, max_boxes(dataset.samples))

    def epoch(self, index: int, threads: int = 2) -> grain.IterDataset[Example]:
        """The batches of one epoch: images [B, H, W, 3], {boxes [B, M, 4], classes [B, M]}."""
        return (
            grain.MapDataset.source(self._samples)
            .seed(int(np.random.SeedSequence((self._seed, index)).generate_state(1)[0]))
            .shuffle()
            .random_map(self._transform)
            .batch(self.batch_size, drop_remainder=True)
            .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=8))
        )
