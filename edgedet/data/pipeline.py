"""Batches for training: shuffled, augmented, padded; a seed and a step fix every byte."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from multiprocessing import parent_process
from typing import Any

import grain
import numpy as np
import numpy.typing as npt
from absl import flags

from edgedet.data.augment import Augmentation, FloatArray, Labelled, augment
from edgedet.data.dataset import DetectionDataset
from edgedet.data.mosaic import PICTURES
from edgedet.data.packed_samples import PackedSamples
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.spec import InputSpec

Batch = tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[Any]]]
"""Images [B, H, W, 3] uint8, and `boxes` [B, M, 4] float32 with `classes` [B, M] int32."""

MOST_BOXES = 200
"""Boxes that an example can have; of more, the largest stay."""

_ENDLESS = 2**40
_SHARED_MEMORY = "/dev/shm"
# Batches of a worker that wait in shared memory: made, queued, and fetched ahead.
_BATCHES_UNDER_WAY = 3


class TrainingBatches:
    """The batches of a whole training run, addressable by step.

    Step `s` of a run is fixed by the seed and `s` alone: a resumed run sees what an unbroken one
    would have seen, and threads, processes and hosts change nothing. Every epoch has its own
    order, and is a whole number of steps: the examples that are left over are not used in it.

    Args:
        dataset: what to train on.
        spec: input size and mean.
        batch_size: examples per step of all hosts together; at most the number of pictures.
        augmentation: how pictures are changed; none is mirrored if the dataset says so.
        seed: fixes order and changes.
        shard: which host this is, and how many there are; each makes its own part of every batch.
        workers: processes that make batches; 0 leaves it to threads of this one. Processes are
            started afresh, so a script that uses them needs `if __name__ == "__main__":`.
        threads: without workers, batches that are made at the same time.

    Attributes:
        batch_size: examples per step of all hosts together.
        steps: steps of an epoch.

    Raises:
        InvalidInputError: no pictures, fewer than hosts, or a batch that the hosts can't share
            evenly.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        spec: InputSpec,
        *,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        shard: tuple[int, int] = (0, 1),
        workers: int = 0,
        threads: int = 2,
    ) -> None:
        host, hosts = shard
        count = len(dataset.samples)
        if batch_size < 1 or batch_size % hosts:
            raise InvalidInputError(
                f"A batch of {batch_size} can't be shared evenly by {hosts} hosts; "
                f"make it a multiple of {hosts}."
            )
        if count < hosts:
            raise InvalidInputError(
                f"{dataset.name} has {count} pictures, too few for {hosts} hosts; add pictures."
            )
        if workers < 0 or threads < 1:
            raise InvalidInputError(
                f"workers must be 0 or more and threads 1 or more, not {workers} and {threads}."
            )
        self.batch_size = min(batch_size, count - count % hosts)
        self.steps = count // self.batch_size
        self._workers = workers
        self._threads = threads
        self._examples = _Examples(
            samples=PackedSamples(dataset.samples),
            spec=spec,
            how=dataclasses.replace(augmentation, flip=augmentation.flip and dataset.flip),
            seed=seed,
            batch_size=self.batch_size,
            part=slice(
                host * self.batch_size // hosts,
                (host + 1) * self.batch_size // hosts,
            ),
        )

    def iterate(self, step: int = 0) -> BatchIterator:
        """This host's part of the batches from the run's step `step` on, without end.

        Images are [B, H, W, 3] uint8; the truth is `boxes` [B, M, 4] float32, `x0, y0, x1, y1` in
        input pixels, and `classes` [B, M] int32, padded by -1. M is the same for all batches.

        Raises:
            InvalidInputError: from the iterator, when a picture can't be read.
        """
        steps = grain.MapDataset.source(_Steps(self._examples, step))
        if not self._workers:
            ahead = grain.ReadOptions(
                num_threads=self._threads, prefetch_buffer_size=self._threads + 1
            )
            return BatchIterator(iter(steps.to_iter_dataset(ahead)), shared=False)
        batches = steps.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        needed = self._workers * _BATCHES_UNDER_WAY * self._examples.batch_bytes
        if _free_shared_memory() < needed:
            # Arrays go through pipes instead, which is slower. Containers have 64 MB by default,
            # and writing beyond that kills a process without a word.
            by_pipe = grain.experimental.DatasetOptions(min_shm_size=_ENDLESS)
            batches = grain.experimental.WithOptionsIterDataset(batches, by_pipe)
        options = grain.MultiprocessingOptions(num_workers=self._workers)
        # grain asks for absl's flags, which only programs of absl parse.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        prefetched = batches.mp_prefetch(options, worker_init_fn=_start_worker)
        return BatchIterator(iter(prefetched), shared=True)


class BatchIterator(Iterator[Batch]):
    """An endless iterator over batches, which stops its threads and processes when it is closed.

    It closes itself when it is garbage-collected, at an error or Ctrl-C, and as a context manager.
    Processes finish the batch that they are at.

    Args:
        batches: grain's iterator.
        shared: whether its arrays lie in shared memory.
    """

    def __init__(self, batches: Any, *, shared: bool) -> None:
        self._batches = batches
        self._shared = shared

    def __next__(self) -> Batch:
        if self._batches is None:
            raise StopIteration
        try:
            images, truth = next(self._batches)
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError) and "terminated unexpectedly" in str(error):
                raise EdgeDetError(
                    "A process that prepares pictures was killed, most likely for lack of memory; "
                    "use fewer workers or a smaller batch."
                ) from None
            raise
        if not self._shared:
            return images, truth
        # Copied, because shared memory that outlives the iterator is torn down with noise.
        return np.array(images), {name: np.array(values) for name, values in truth.items()}

    def close(self) -> None:
        """Stop what is under way; there are no further batches."""
        batches, self._batches = self._batches, None
        if batches is not None:
            batches.close()

    def __enter__(self) -> BatchIterator:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Nothing can be told from here, and at the interpreter's end half of it is gone already.
        with suppress(Exception):
            self.close()


@dataclasses.dataclass(frozen=True)
class _Examples:
    """Makes this host's examples of any step.

    Attributes:
        samples: the dataset.
        spec: input size and mean.
        how: strength of the changes.
        seed: fixes order and changes.
        batch_size: examples of a step on all hosts.
        part: which of these are this host's.
    """

    samples: PackedSamples
    spec: InputSpec
    how: Augmentation
    seed: int
    batch_size: int
    part: slice

    @property
    def count(self) -> int:
        """Examples that this host makes for a step."""
        return int(self.part.stop - self.part.start)

    @property
    def boxes(self) -> int:
        """Boxes that every example is padded to."""
        pictures = PICTURES if self.how.mosaic else 1
        return max(1, min(MOST_BOXES, pictures * self.samples.most_boxes))

    @property
    def batch_bytes(self) -> int:
        """What a batch takes in memory."""
        return self.count * (3 * self.spec.height * self.spec.width + 20 * self.boxes)

    def batch(self, step: int) -> Batch:
        """The examples of a step.

        Raises:
            InvalidInputError: a picture can't be read.
        """
        epoch, step_in_epoch = divmod(step, len(self.samples) // self.batch_size)
        order = _order(self.seed, epoch, len(self.samples))
        first = step_in_epoch * self.batch_size
        images = np.empty((self.count, self.spec.height, self.spec.width, 3), np.uint8)
        boxes = np.zeros((self.count, self.boxes, 4), np.float32)
        classes = np.full((self.count, self.boxes), -1, np.int32)
        for index, position in enumerate(range(self.part.start, self.part.stop)):
            # Keys apart from those of `_order`, which are shorter.
            rng = np.random.default_rng((self.seed, step, position))
            _, found, labels = augment(
                self.samples.labelled(int(order[first + position])),
                self.spec,
                rng,
                self.how,
                others=self._another,
                out=images[index],
            )
            kept = _largest(found, self.boxes)
            boxes[index, : len(kept)] = found[kept]
            classes[index, : len(kept)] = labels[kept]
        return images, {"boxes": boxes, "classes": classes}

    def _another(self, rng: np.random.Generator) -> Labelled:
        return self.samples.labelled(int(rng.integers(len(self.samples))))


class _Steps:
    """The steps from one on, as a source that grain reads at random."""

    def __init__(self, examples: _Examples, first: int) -> None:
        self._examples = examples
        self._first = first

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, index: int) -> Batch:
        return self._examples.batch(self._first + int(index))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The order of an epoch. Kept, because every step of the epoch asks for it."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def _largest(boxes: FloatArray, count: int) -> npt.NDArray[np.int64]:
    """The largest boxes' indices, in the boxes' order."""
    if len(boxes) <= count:
        return np.arange(len(boxes))
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.sort(np.argsort(-areas, kind="stable")[:count])


def _free_shared_memory() -> float:
    try:
        return shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        # Other systems keep shared memory elsewhere, and do not limit it like this.
        return float("inf")


def _start_worker(index: int, count: int) -> None:
    """Leave Ctrl-C to the process that asked for batches, and end when that one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
