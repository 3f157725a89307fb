"""A step's batch follows from the seed and the step alone, whoever makes it."""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.augment import NO_AUGMENTATION, Augmentation
from edgedet.data.dataset import DetectionDataset, Sample
from edgedet.data.packed_samples import PackedSamples
from edgedet.data.pipeline import MOST_BOXES, Batch, TrainingBatches
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.spec import InputSpec

SPEC = InputSpec(48, 64)
EVERYTHING = Augmentation(scale=(0.3, 1.5), mosaic=0.5, colour=0.3, autoaugment="v1", grid_mask=0.3)
COUNT = 11


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    """Pictures that are one grey each, 10 levels apart, with 0 to 3 boxes and a crowd."""
    directory = tmp_path_factory.mktemp("pictures")
    samples = []
    for index in range(COUNT):
        path = directory / (f"{index}.png" if index % 2 else f"{index}é.jpg")
        Image.new("RGB", (64, 48), (10 * index, 10 * index, 10 * index)).save(path)
        boxes = np.float32([[4, 4, 30, 30]] * (index % 4) + [[0, 0, 64, 48]])
        classes = np.full(len(boxes), index, np.int32)
        crowd = np.arange(len(boxes)) == index % 4
        samples.append(Sample(path, index, 64, 48, boxes, classes, crowd))
    return DetectionDataset("train", tuple("abcdefghijk"), tuple(range(COUNT)), samples)


def batches(
    dataset: DetectionDataset,
    how: Augmentation = NO_AUGMENTATION,
    *,
    batch_size: int = 4,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
    workers: int = 0,
    threads: int = 2,
) -> TrainingBatches:
    return TrainingBatches(
        dataset,
        SPEC,
        batch_size=batch_size,
        augmentation=how,
        seed=seed,
        shard=shard,
        workers=workers,
        threads=threads,
    )


def taken(source: TrainingBatches, count: int, step: int = 0) -> list[Batch]:
    with source.iterate(step) as iterator:
        return [next(iterator) for _ in range(count)]


def same(first: list[Batch], second: list[Batch]) -> bool:
    return all(
        np.array_equal(images, others)
        and all(np.array_equal(truth[name], other[name]) for name in ("boxes", "classes"))
        for (images, truth), (others, other) in zip(first, second, strict=True)
    )


def pictures(batch: Batch) -> list[int]:
    """Which pictures a batch without augmentation shows."""
    return [round(float(image[20, 30, 0]) / 10) for image in batch[0]]


def test_a_batch_has_the_shapes_that_training_expects(dataset: DetectionDataset) -> None:
    source = batches(dataset)
    assert source.batch_size == 4
    assert source.steps == 2
    (images, truth), *_ = made = taken(source, 2)
    assert images.shape == (4, 48, 64, 3)
    assert images.dtype == np.uint8
    assert truth["boxes"].shape == (4, 3, 4)
    assert truth["boxes"].dtype == np.float32
    assert truth["classes"].shape == (4, 3)
    assert truth["classes"].dtype == np.int32
    for batch in made:
        for index, picture in enumerate(pictures(batch)):
            classes = batch[1]["classes"][index]
            # The crowd is left out, and the rest is padding.
            np.testing.assert_array_equal(classes[: picture % 4], picture)
            np.testing.assert_array_equal(classes[picture % 4 :], -1)
            boxes = batch[1]["boxes"][index]
            assert (boxes[: picture % 4] == [4, 4, 30, 30]).all()
            np.testing.assert_array_equal(boxes[picture % 4 :], 0)


def test_an_epoch_shows_every_picture_at_most_once_in_its_own_order(
    dataset: DetectionDataset,
) -> None:
    source = batches(dataset, batch_size=5)
    assert source.steps == 2
    orders = [
        [index for batch in taken(source, 2, 2 * epoch) for index in pictures(batch)]
        for epoch in range(4)
    ]
    for order in orders:
        assert max(Counter(order).values()) == 1
    assert len({tuple(order) for order in orders}) == 4
    # What one epoch leaves out another shows.
    assert set().union(*orders) == set(range(COUNT))


@pytest.mark.parametrize("threads", [1, 3])
def test_iteration_may_begin_at_any_step(dataset: DetectionDataset, threads: int) -> None:
    unbroken = taken(batches(dataset, EVERYTHING), 7)
    assert same(taken(batches(dataset, EVERYTHING, threads=threads), 3, 4), unbroken[4:])
    assert not same(unbroken[:3], unbroken[3:6])


def test_a_late_step_starts_as_quickly_as_the_first(dataset: DetectionDataset) -> None:
    read = []
    source = batches(dataset, threads=1)
    labelled = PackedSamples.labelled

    def counted(self: PackedSamples, index: int) -> object:
        read.append(index)
        return labelled(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PackedSamples, "labelled", counted)
        taken(source, 1, 10**9)
    # The batch, and a few that are made ahead.
    assert len(read) <= 4 * 6


def test_seeds_differ(dataset: DetectionDataset) -> None:
    first, second = (taken(batches(dataset, EVERYTHING, seed=seed), 2) for seed in (0, 1))
    assert not same(first, second)


def test_one_picture_is_changed_anew_at_every_place_and_step(dataset: DetectionDataset) -> None:
    same_picture = dataclasses.replace(dataset, samples=[dataset.samples[7]] * 4)
    how = Augmentation(scale=(0.3, 1.5), colour=0.3)
    made = taken(batches(same_picture, how), 5)
    assert len({image.tobytes() for images, _ in made for image in images}) == 20


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_together_make_the_single_hosts_batch(dataset: DetectionDataset, hosts: int) -> None:
    whole = taken(batches(dataset, EVERYTHING, batch_size=8), 3, 5)
    parts = []
    for host in range(hosts):
        source = batches(dataset, EVERYTHING, batch_size=8, shard=(host, hosts))
        assert source.batch_size == 8
        assert source.steps == 1
        parts.append(taken(source, 3, 5))
    together = [
        (
            np.concatenate([images for images, _ in step]),
            {
                name: np.concatenate([truth[name] for _, truth in step])
                for name in ("boxes", "classes")
            },
        )
        for step in zip(*parts, strict=True)
    ]
    assert same(together, whole)


def test_processes_make_the_same_bytes_and_end(dataset: DetectionDataset) -> None:
    expected = taken(batches(dataset, EVERYTHING), 5, 3)
    iterator = batches(dataset, EVERYTHING, workers=2).iterate(3)
    made = [next(iterator) for _ in range(5)]
    assert len(multiprocessing.active_children()) == 2
    # As good as closed: a trainer that fails just drops it.
    del iterator
    gc.collect()
    assert multiprocessing.active_children() == []
    assert same(made, expected)
    assert all(type(images) is np.ndarray for images, _ in made)


def test_little_shared_memory_is_not_used(
    dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = taken(batches(dataset, EVERYTHING), 3)
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("edgedet.data.pipeline.shutil.disk_usage", lambda path: usage)

    def refused(*arguments: object, **options: object) -> None:
        raise AssertionError("shared memory was used")

    monkeypatch.setattr("multiprocessing.shared_memory.SharedMemory", refused)
    assert same(taken(batches(dataset, EVERYTHING, workers=1), 3), expected)


def damaged(dataset: DetectionDataset, directory: Path) -> DetectionDataset:
    path = directory / "broken.jpg"
    path.write_bytes(b"no picture")
    sample = dataclasses.replace(dataset.samples[0], path=path)
    return dataclasses.replace(dataset, samples=[sample] * COUNT)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cant_be_read_is_named(
    dataset: DetectionDataset, workers: int, tmp_path: Path
) -> None:
    iterator = batches(damaged(dataset, tmp_path), workers=workers).iterate()
    with pytest.raises(InvalidInputError, match=r"broken\.jpg is no picture that can be read"):
        next(iterator)
    assert multiprocessing.active_children() == []
    with pytest.raises(StopIteration):
        next(iterator)


def test_a_missing_picture_is_named(dataset: DetectionDataset, tmp_path: Path) -> None:
    sample = dataclasses.replace(dataset.samples[0], path=tmp_path / "gone.jpg")
    source = batches(dataclasses.replace(dataset, samples=[sample] * 4))
    with pytest.raises(MissingFileError, match=r"gone\.jpg does not exist"):
        next(source.iterate())


def test_a_killed_process_is_told(dataset: DetectionDataset) -> None:
    with batches(dataset, workers=1).iterate() as iterator:
        next(iterator)
        multiprocessing.active_children()[0].kill()
        with pytest.raises(EdgeDetError, match="was killed, most likely for lack of memory"):
            for _ in range(20):
                next(iterator)


PROGRAM = """
    import sys, time
    import numpy as np
    from pathlib import Path
    from edgedet.data.augment import NO_AUGMENTATION
    from edgedet.data.dataset import DetectionDataset, Sample
    from edgedet.data.pipeline import TrainingBatches
    from edgedet.spec import InputSpec
    import multiprocessing

    if __name__ == "__main__":
        box = np.float32([[0, 0, 9, 9]])
        sample = Sample(Path(sys.argv[1]), 1, 64, 48, box, np.int32([0]), np.zeros(1, bool))
        dataset = DetectionDataset("train", ("a",), (1,), [sample] * 4)
        batches = TrainingBatches(
            dataset, InputSpec(48, 64), batch_size=2, augmentation=NO_AUGMENTATION, seed=0,
            workers=1,
        ).iterate()
        next(batches)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        while True:
            next(batches)
            time.sleep(0.05)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_no_process_outlives_the_one_that_asked(
    how: str, dataset: DetectionDataset, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    process = subprocess.Popen(
        [sys.executable, str(program), str(dataset.samples[1].path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell starts in the background ignores interrupts, and so would this process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        assert len(workers) == 1
        if how == "killed":
            process.kill()
        else:
            # As a terminal does: to the whole group.
            os.killpg(process.pid, 2)
        # An interrupt at the wrong moment leaves a queue locked: grain then waits for 25 seconds
        # before it kills the worker.
        _, errors = process.communicate(timeout=90)
        until = time.monotonic() + 10
        while (left := [pid for pid in workers if alive(pid)]) and time.monotonic() < until:
            time.sleep(0.05)
        assert left == []
        if how == "interrupted":
            assert errors.count("KeyboardInterrupt") == 1
    finally:
        process.kill()


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # A zombie has ended; nobody has asked for its result.
    return status.rpartition(")")[2].split()[0] != "Z"


def test_nothing_is_mirrored_where_the_data_forbids_it(dataset: DetectionDataset) -> None:
    how = Augmentation(scale=(1.0, 1.0), flip=True, colour=0.0)
    seen = []
    for flip in (True, False):
        source = batches(dataclasses.replace(dataset, flip=flip), how)
        boxes = np.concatenate([truth["boxes"][..., 0].ravel() for _, truth in taken(source, 8)])
        seen.append(set(boxes[boxes > 0].tolist()))
    assert seen == [{4.0, 34.0}, {4.0}]


@pytest.mark.parametrize(("batch_size", "count"), [(16, 3), (16, 1), (2, 3)])
def test_a_few_pictures_are_enough(batch_size: int, count: int, dataset: DetectionDataset) -> None:
    few = dataclasses.replace(dataset, samples=dataset.samples[:count])
    source = batches(few, batch_size=batch_size)
    assert source.batch_size == min(batch_size, count)
    assert source.steps == 1
    assert taken(source, 5)[-1][0].shape[0] == source.batch_size


def test_mosaics_have_room_for_four_pictures_boxes(dataset: DetectionDataset) -> None:
    how = Augmentation(scale=(1.0, 1.0), mosaic=1.0, colour=0.0)
    (_, truth), *_ = taken(batches(dataset, how), 1)
    assert truth["boxes"].shape[1] == 4 * 3
    # Boxes of several pictures on one canvas.
    assert max(len(set(classes[classes >= 0].tolist())) for classes in truth["classes"]) > 1


def test_of_too_many_boxes_the_largest_stay(dataset: DetectionDataset) -> None:
    sides = np.linspace(4, 40, 3 * MOST_BOXES, dtype=np.float32)
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    np.random.default_rng(0).shuffle(boxes)
    sample = dataclasses.replace(
        dataset.samples[0],
        boxes=boxes,
        classes=np.zeros(len(boxes), np.int32),
        crowd=np.zeros(len(boxes), bool),
    )
    (_, truth), *_ = taken(batches(dataclasses.replace(dataset, samples=[sample])), 1)
    assert truth["boxes"].shape == (1, MOST_BOXES, 4)
    assert truth["boxes"][0, :, 2].min() == pytest.approx(np.sort(sides)[-MOST_BOXES], abs=1e-4)
    assert (truth["classes"] == 0).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 3, "shard": (0, 2)}, "make it a multiple of 2"),
        ({"batch_size": 0}, "can't be shared"),
        ({"batch_size": 16, "shard": (3, 16)}, "has 11 pictures, too few for 16 hosts"),
        ({"workers": -1}, "workers must be 0 or more"),
        ({"threads": 0}, "threads 1 or more"),
    ],
)
def test_impossible_settings_are_told(
    settings: dict[str, object], said: str, dataset: DetectionDataset
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        batches(dataset, **settings)  # type: ignore[arg-type]


def test_an_empty_dataset_is_told(dataset: DetectionDataset) -> None:
    with pytest.raises(InvalidInputError, match="has 0 pictures"):
        batches(dataclasses.replace(dataset, samples=[]))


def test_packed_samples_are_small_to_send(dataset: DetectionDataset) -> None:
    samples = dataset.samples * 1000
    packed = PackedSamples(samples)
    assert len(packed) == len(samples)
    for index in (0, 1, 4567, len(samples) - 1):
        assert packed.path(index) == str(samples[index].path)
        _, boxes, classes = packed.labelled(index)
        kept = ~samples[index].crowd
        np.testing.assert_array_equal(boxes, samples[index].boxes[kept])
        np.testing.assert_array_equal(classes, samples[index].classes[kept])
    assert len(pickle.dumps(packed)) < 200 * len(samples)
