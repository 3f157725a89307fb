"""The learner: what a training step changes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgedet.data.augment import NO_AUGMENTATION
from edgedet.data.dataset import DetectionDataset
from edgedet.data.pipeline import TrainingBatches
from edgedet.models import build, preset_spec
from edgedet.spec import ModelSpec
from edgedet.training import TrainingOptions
from edgedet.training.learner import DetectionLearner
from edgedet.training.optimizers import compiled


def _spec(dataset: DetectionDataset) -> ModelSpec:
    return preset_spec(
        "eff-spinenet-m0", dataset.labels, dataset.category_ids, size=128, activation="relu6"
    )


def test_a_few_steps_lower_the_loss_and_the_average_follows(digits: DetectionDataset) -> None:
    keras.utils.set_random_seed(0)
    spec = _spec(digits)
    network = build(spec)
    learner = DetectionLearner(network, spec, TrainingOptions(), average_decay=0.9)
    learner.compile(optimizer=keras.optimizers.AdamW(2e-3), jit_compile=False)
    before = [np.array(weight) for weight in network.weights]
    for average, weight in zip(learner.averaged_values(), before, strict=True):
        np.testing.assert_array_equal(average, weight)
    batches = TrainingBatches(
        digits, spec.input, batch_size=8, augmentation=NO_AUGMENTATION, seed=0
    )
    images, truth = next(batches.iterate())
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
    learner = DetectionLearner(network, spec, TrainingOptions(), average_decay=0.9)
    # So large a step shows the smallest gradient.
    learner.compile(optimizer=keras.optimizers.SGD(1e4), jit_compile=False)
    before = [np.array(weight) for weight in network.trainable_weights]
    images = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), np.uint8)
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


def _plain(spec: ModelSpec) -> keras.Model:
    """Raw heads that are linear in the normalized image."""
    image = keras.Input((spec.input.height, spec.input.width, 3))
    outputs = {}
    for level in spec.anchors.levels:
        pooled = keras.layers.AveragePooling2D(2**level)(image)
        for kind, count in (("class", spec.num_classes), ("box", 4)):
            width = spec.anchors.per_location * count
            outputs[f"{kind}_{level}"] = keras.layers.Conv2D(width, 1)(pooled)
    return keras.Model(image, outputs)


def _truth(count: int = 1) -> dict[str, np.ndarray]:
    boxes = np.float32([[[10, 10, 50, 60], [60, 40, 120, 110]]])
    return {
        "boxes": np.repeat(boxes, count, axis=0),
        "classes": np.repeat(np.int32([[0, 1]]), count, axis=0),
    }


SPEC = preset_spec("efficientdet-d0", ["a", "b"], size=128)


def test_pictures_are_normalized_in_the_step() -> None:
    network = _plain(SPEC)
    learner = DetectionLearner(network, SPEC, TrainingOptions(), average_decay=0.9)
    images = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8)
    normalized = (images.astype(np.float32) - SPEC.input.mean) / SPEC.input.std
    expected = network(normalized.astype(np.float32))
    for name, value in learner(images).items():
        np.testing.assert_allclose(np.asarray(value), np.asarray(expected[name]), atol=1e-5)


def _step(options: TrainingOptions, start: list[np.ndarray], images: np.ndarray, steps: int = 1):
    network = _plain(SPEC)
    network.set_weights(start)
    learner = compiled(network, SPEC, options, 100)
    for part in np.split(images, steps):
        logs = learner.train_on_batch(part, _truth(len(part)), return_dict=True)
    return network.get_weights(), logs, learner


@pytest.fixture(scope="module")
def start() -> list[np.ndarray]:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.1, weight.shape).astype("f") for weight in _plain(SPEC).weights]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (2, 128, 128, 3), np.uint8)


SGD = {"optimizer": "sgd", "learning_rate": 0.1, "warmup_epochs": 0.0, "clip_norm": 0.0}


def test_sgd_decays_kernels_by_an_l2_penalty(start: list[np.ndarray], images: np.ndarray) -> None:
    without, plain, _ = _step(TrainingOptions(**SGD, weight_decay=0.0), start, images)
    with_decay, told, _ = _step(TrainingOptions(**SGD, weight_decay=0.5), start, images)
    for old, a, b in zip(start, without, with_decay, strict=True):
        # The first step of momentum is plain: the penalty's gradient is decay times the kernel.
        expected = a - 0.1 * 0.5 * old if old.ndim == 4 else a
        np.testing.assert_allclose(b, expected, atol=1e-6)
    assert float(told["detection_loss"]) == pytest.approx(float(plain["detection_loss"]), rel=1e-6)
    penalty = 0.25 * sum(float((w.astype("d") ** 2).sum()) for w in start if w.ndim == 4)
    assert float(told["loss"]) - float(plain["loss"]) == pytest.approx(penalty, rel=1e-4)


def test_momentum_sums_gradients(start: list[np.ndarray], images: np.ndarray) -> None:
    still = {**SGD, "learning_rate": 1e-6}
    first, _, _ = _step(TrainingOptions(**still, momentum=0.9), start, images[:1])
    twice = np.repeat(images[:1], 2, axis=0)
    second, _, _ = _step(TrainingOptions(**still, momentum=0.9), start, twice, steps=2)
    # So small a rate leaves the gradient as it is: steps of 1 and then 1.9 gradients.
    index = max(range(len(start)), key=lambda i: np.abs(first[i] - start[i]).max())
    one = (first[index] - start[index]).astype("d")
    two = (second[index] - start[index]).astype("d")
    strong = np.abs(one) > 0.5 * np.abs(one).max()
    assert np.median(two[strong] / one[strong]) == pytest.approx(2.9, rel=0.02)


def test_accumulated_gradients_are_those_of_both_batches(
    start: list[np.ndarray], images: np.ndarray
) -> None:
    single = [_step(TrainingOptions(**SGD), start, images[i : i + 1])[0] for i in range(2)]
    both, _, learner = _step(TrainingOptions(**SGD, accumulate=2), start, images, steps=2)
    for old, a, b, found in zip(start, *single, both, strict=True):
        np.testing.assert_allclose(found, old + ((a - old) + (b - old)) / 2, atol=1e-6)
    assert int(np.asarray(learner.optimizer.iterations)) == 1


def test_without_an_average_the_weights_themselves_are_kept(
    start: list[np.ndarray], images: np.ndarray
) -> None:
    *_, learner = _step(TrainingOptions(**SGD, average_decay=0.0), start, images, steps=2)
    learner.train_on_batch(images, _truth(2))
    before = learner.network.get_weights()
    learner.train_on_batch(images, _truth(2))
    for average, weight in zip(learner.averaged_values(), before, strict=True):
        np.testing.assert_allclose(average, weight, atol=1e-6)


def test_the_loss_takes_the_options(start: list[np.ndarray], images: np.ndarray) -> None:
    def losses(**options: float) -> dict[str, float]:
        _, logs, _ = _step(TrainingOptions(**SGD, **options), start, images)
        return {name: float(value) for name, value in logs.items()}

    plain = losses()
    assert plain["detection_loss"] == pytest.approx(
        plain["class_loss"] + 50 * plain["box_loss"], rel=1e-5
    )
    assert losses(box_loss_weight=1.0)["detection_loss"] == pytest.approx(
        plain["class_loss"] + plain["box_loss"], rel=1e-5
    )
    for option, value in (
        ("focal_alpha", 0.5),
        ("focal_gamma", 2.0),
        ("label_smoothing", 0.1),
    ):
        changed = losses(**{option: value})
        assert changed["class_loss"] != pytest.approx(plain["class_loss"], rel=1e-3), option
        assert changed["box_loss"] == pytest.approx(plain["box_loss"], rel=1e-5), option
    assert losses(huber_delta=1.0)["box_loss"] > plain["box_loss"]
