"""The learner: what a training step changes."""

from __future__ import annotations

import keras
import numpy as np

from edgedet.data.augment import Augmentation
from edgedet.data.dataset import DetectionDataset
from edgedet.data.pipeline import TrainingBatches
from edgedet.models import build, preset_spec
from edgedet.spec import ModelSpec
from edgedet.training.learner import DetectionLearner


def _spec(dataset: DetectionDataset) -> ModelSpec:
    return preset_spec(
        "eff-spinenet-m0", dataset.labels, dataset.category_ids, size=128, activation="relu6"
    )


def test_a_few_steps_lower_the_loss_and_the_average_follows(digits: DetectionDataset) -> None:
    keras.utils.set_random_seed(0)
    spec = _spec(digits)
    network = build(spec)
    learner = DetectionLearner(network, spec, average_decay=0.9)
    learner.compile(optimizer=keras.optimizers.AdamW(2e-3), jit_compile=False)
    before = [np.array(weight) for weight in network.weights]
    for average, weight in zip(learner.averaged_values(), before, strict=True):
        np.testing.assert_array_equal(average, weight)
    batches = TrainingBatches(
        digits, spec.input, batch_size=8, augmentation=Augmentation((1, 1), False, 0), seed=0
    )
    images, truth = next(iter(batches.epoch(0)))
    losses = [
        float(learner.train_on_batch(images, truth, return_dict=True)["loss"]) for _ in range(12)
    ]
    assert losses[-1] < 0.9 * losses[0]
    # The statistics of the normalizations are averaged as well.
    for index, weight in enumerate(network.weights):
        if weight.path.endswith("stem_bn/moving_variance"):
            average = learner.averaged_values()[index]
            assert not np.allclose(average, before[index])
            assert not np.allclose(average, np.asarray(weight))


def test_every_trainable_weight_gets_a_gradient() -> None:
    keras.utils.set_random_seed(0)
    # A unit of relu6 can be dead from the start; with swish it is the wiring that counts.
    spec = preset_spec(
        "eff-spinenet-m0", ["a", "b"], size=128, activation="swish", anchor_scale=1.0
    )
    network = build(spec)
    learner = DetectionLearner(network, spec, average_decay=0.9)
    # So large a step shows the smallest gradient.
    learner.compile(optimizer=keras.optimizers.SGD(1e4), jit_compile=False)
    before = [np.array(weight) for weight in network.trainable_weights]
    images = np.random.default_rng(0).normal(size=(4, 128, 128, 3)).astype(np.float32)
    sides = np.float32([10, 20, 40, 80, 128])  # one box for each level's anchors
    boxes = np.stack([np.zeros(5, np.float32)] * 2 + [sides, sides], axis=-1)
    truth = {"boxes": np.stack([boxes] * 4), "classes": np.tile(np.int32([0, 1, 0, 1, 0]), (4, 1))}
    learner.train_on_batch(images, truth)
    still = [
        weight.path
        for weight, value in zip(network.trainable_weights, before, strict=True)
        if np.array_equal(np.asarray(weight), value)
    ]
    assert still == []


def test_epochs_differ_and_repeat_by_seed(digits: DetectionDataset) -> None:
    def first(seed: int, epoch: int) -> np.ndarray:
        batches = TrainingBatches(
            digits, _spec(digits).input, batch_size=4, augmentation=Augmentation(), seed=seed
        )
        images: np.ndarray = next(iter(batches.epoch(epoch)))[0]
        return images

    np.testing.assert_array_equal(first(1, 0), first(1, 0))
    assert not np.array_equal(first(1, 0), first(1, 1))
    assert not np.array_equal(first(1, 0), first(2, 0))
