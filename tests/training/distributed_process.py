"""One host of a run, in a process of its own: python distributed_process.py HOST HOSTS PORT OUT.

Run by `test_distribution.py` under JAX. Trains a small network for 20 steps and leaves in OUT what
each step told and what became of the variables. The only host of a run does so once on one device
and once on four.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgedet.errors import InvalidInputError
from edgedet.models import preset_spec
from edgedet.models.layers import BatchNormalization, StochasticDepth
from edgedet.spec import ModelSpec
from edgedet.training import distribution
from edgedet.training.distribution import Topology
from edgedet.training.optimizers import compiled
from edgedet.training.options import TrainingOptions
from edgedet.training.stepping import Stepper

STEPS = 20
BATCH = 8
SIDE = 128
OPTIONS = TrainingOptions(
    epochs=1,
    optimizer="sgd",
    learning_rate=0.02,
    weight_decay=4e-5,
    clip_norm=10.0,
    average_decay=0.9,
    warmup_epochs=0.0,
)


def main(words: Sequence[str]) -> None:
    """Be the host that the command line says."""
    # Keras would import it only to seed it too: seconds of every process.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    host, hosts, port, out = int(words[0]), int(words[1]), words[2], Path(words[3])
    if hosts == 1:
        np.savez(out / "one-device.npz", **train(Topology()))
        np.savez(out / "four-devices.npz", **train(Topology(devices=4)))
        (out / "sentence.txt").write_text(refused(Topology(devices=5)), encoding="utf-8")
        return
    # The port was free a moment ago; the roll call tells if it no longer is.
    found = train(Topology(None, f"localhost:{port}", hosts, host))
    found["from_first"] = distribution.from_first([2.5, "of host 0"] if host == 0 else None)
    if distribution.is_first():
        # None of this may wait for the other host.
        with distribution.alone():
            network = small_network(spec())
        network.set_weights([found[f"weight_{index}"] for index in range(len(network.weights))])
        assert len(network.weights[0].value.sharding.device_set) == 1
    np.savez(out / f"host-{host}.npz", **found)


def train(topology: Topology) -> dict[str, Any]:
    """What 20 steps on the topology's devices tell.

    Returns:
        `loss`, `class_loss`, `box_loss` [20]; after the first step `gradient_*`, times the rate,
        and `first_*` of the network's weights, the normalizations' statistics among them; after
        the last `weight_*` and their averages, `average_*`; `replicas`, the devices, and `share`,
        the examples that each has of a batch.
    """
    distribution.start(topology, timeout=60)
    distribution.check_batch(BATCH)
    keras.utils.set_random_seed(7)
    network = small_network(spec())
    learner = compiled(network, spec(), OPTIONS, STEPS)
    stepper = Stepper(learner)
    found: dict[str, Any] = {"replicas": distribution.replicas()}
    images, _ = stepper.placed(local_batch(0))
    found["share"] = len(images.addressable_shards[0].data)
    logs = []
    for step in range(STEPS):
        logs.append(stepper.step(*local_batch(step)))
        if step == 0:
            stepper.sync()
            found |= numbered("first", network.weights)
            # Momenta of one step are gradients, times the rate.
            found |= numbered("gradient", learner.optimizer.momentums)
    stepper.sync()
    found |= numbered("weight", network.weights)
    found |= numbered("average", learner.averages)
    for name, key in (("loss", "detection_loss"), ("class_loss",) * 2, ("box_loss",) * 2):
        found[name] = [float(values[key]) for values in logs]
    return found


def spec() -> ModelSpec:
    """Of a detector of three classes at two levels."""
    found = preset_spec("eff-spinenet-m0", ["a", "b", "c"], size=SIDE)
    return replace(found, anchors=replace(found.anchors, min_level=3, max_level=4))


def small_network(spec: ModelSpec, drop_rate: float = 0.2) -> keras.Model:
    """Heads of a convolution per level, with all that could differ between devices: statistics of
    the batch, and random choices for each example.

    Its predictors are in float32 in every precision, as those of the zoo.
    """
    image = keras.Input((spec.input.height, spec.input.width, 3))
    x = keras.layers.AveragePooling2D(8)(image)
    outputs = {}
    for level in spec.anchors.levels:
        stride = 1 if level == spec.anchors.levels[0] else 2
        # A bias before a normalization has no gradient but rounding.
        x = keras.layers.Conv2D(8, 3, stride, padding="same", use_bias=False)(x)
        x = keras.layers.Activation("swish")(BatchNormalization()(x))
        x = StochasticDepth(drop_rate)(x)
        for kind, count in (("class", spec.num_classes), ("box", 4)):
            predictor = keras.layers.Conv2D(
                spec.anchors.per_location * count, 1, name=f"{kind}_{level}", dtype="float32"
            )
            outputs[predictor.name] = predictor(x)
    return keras.Model(image, outputs)


def local_batch(step: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """This host's part of a global batch whose examples differ much.

    Parts with means and numbers of objects of their own show statistics and counts that are not
    those of the whole batch.
    """
    rng = np.random.default_rng(step)
    images = rng.integers(0, 80, (BATCH, SIDE, SIDE, 3))
    images += np.linspace(0, 170, BATCH, dtype=np.int64)[:, None, None, None]
    corner, size = rng.uniform(0, 80, (BATCH, 8, 2)), rng.uniform(10, 48, (BATCH, 8, 2))
    boxes = np.concatenate([corner, corner + size], axis=-1)
    classes = rng.integers(0, 3, (BATCH, 8))
    classes[np.arange(8)[None] > np.arange(BATCH)[:, None]] = -1
    index, count = distribution.shard()
    part = slice(index * BATCH // count, (index + 1) * BATCH // count)
    targets = {"boxes": boxes[part].astype(np.float32), "classes": classes[part].astype(np.int32)}
    return images[part].astype(np.uint8), targets


def numbered(name: str, arrays: Sequence[Any]) -> dict[str, np.ndarray]:
    """Arrays by name and index, fetched."""
    return {
        f"{name}_{index}": keras.ops.convert_to_numpy(array) for index, array in enumerate(arrays)
    }


def refused(topology: Topology) -> str:
    """The sentence by which a topology is refused."""
    try:
        distribution.start(topology)
    except InvalidInputError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(sys.argv[1:])
