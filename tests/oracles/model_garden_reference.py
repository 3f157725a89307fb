"""Random detectors of the TensorFlow Model Garden: their checkpoints and what they answer.

Run in an environment of its own (docs/oracles.md): python model_garden_reference.py OUT MODEL:SIZE
... with a MODEL of mb49, mb49s, mb49xs and r50-nasfpn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from official.vision.configs import backbones, common, decoders, retinanet
from official.vision.modeling import factory

CLASSES = 91
WIDTHS = {"mb49": ("49", 48), "mb49s": ("49S", 40), "mb49xs": ("49XS", 24)}


def configuration(model: str, size: int) -> retinanet.RetinaNet:
    """The Model Garden's own published configuration, but for the size."""
    if model in WIDTHS:
        identity, width = WIDTHS[model]
        spinenet = backbones.SpineNetMobile(model_id=identity, stochastic_depth_drop_rate=0.2)
        backbone = backbones.Backbone(type="spinenet_mobile", spinenet_mobile=spinenet)
        decoder = decoders.Decoder(type="identity")
        head = retinanet.RetinaNetHead(num_convs=4, num_filters=width, use_separable_conv=True)
    elif model == "r50-nasfpn":
        backbone = backbones.Backbone(type="resnet", resnet=backbones.ResNet(model_id=50))
        nas_fpn = decoders.NASFPN(num_filters=256, num_repeats=7)
        decoder = decoders.Decoder(type="nasfpn", nasfpn=nas_fpn)
        head = retinanet.RetinaNetHead(num_convs=4, num_filters=256)
    else:
        sys.exit(f"There is no {model}; choose one of {', '.join(WIDTHS)}, r50-nasfpn.")
    return retinanet.RetinaNet(
        num_classes=CLASSES,
        input_size=[size, size, 3],
        min_level=3,
        max_level=7,
        backbone=backbone,
        decoder=decoder,
        head=head,
        norm_activation=common.NormActivation(
            activation="swish" if model in WIDTHS else "relu",
            norm_momentum=0.99,
            norm_epsilon=0.001,
        ),
    )


def randomize(
    network: tf.keras.Model, answer: Callable[[], object], random: np.random.Generator
) -> None:
    """Give every weight and every moving statistic a value of its own; see effdet_reference.py."""

    def normal(variable: tf.Variable, mean: float, deviation: float) -> None:
        variable.assign(random.normal(mean, deviation, variable.shape))

    def observe(norm: tf.keras.layers.Layer) -> Callable[..., tf.Tensor]:
        def call(inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
            mean, var = (each.numpy() for each in tf.nn.moments(inputs, axes=(0, 1, 2)))
            noise = random.normal(0.0, 0.2, mean.shape)
            norm.moving_mean.assign(mean + noise * var**0.5)
            norm.moving_variance.assign((var + 0.1 * var.mean()) * np.exp(noise))
            return type(norm).call(norm, inputs, training=False)

        return call

    for variable in network.variables:
        name = variable.name.split("/")[-1].split(":")[0]
        if name in ("bias", "beta"):
            normal(variable, 0.4, 0.4)
        elif name.endswith("kernel"):
            inputs = variable.shape[:2] if name == "depthwise_kernel" else variable.shape[:-1]
            normal(variable, 0.0, float(np.prod(inputs)) ** -0.5)
    layers = list(network._flatten_layers())
    # The last normalization of a block is added to the block's input.
    last = {id(getattr(each, "_norm3", getattr(each, "_norm2", None))) for each in layers}
    norms = [each for each in layers if isinstance(each, tf.keras.layers.BatchNormalization)]
    for norm in norms:
        normal(norm.gamma, 0.4 if id(norm) in last else 0.8, 0.1)
        norm.call = observe(norm)
    answer()
    for norm in norms:
        del norm.call


def main(out: Path, model: str, size: int) -> None:
    """Write `model-garden-MODEL.ckpt.*` and `model-garden-MODEL.npz` into `out`."""
    random = np.random.default_rng(sum(map(ord, model)))
    images = random.normal(size=(2, size, size, 3)).astype(np.float32)
    specification = tf.keras.layers.InputSpec(shape=[None, size, size, 3])
    network = factory.build_retinanet(specification, configuration(model, size))

    def answer(pictures: np.ndarray) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        features = network.backbone(pictures, training=False)
        if network.decoder is not None:
            features = network.decoder(features, training=False)
        scores, boxes, _ = network.head(features)
        return scores, boxes

    answer(images)  # builds what is not built yet
    randomize(network, lambda: answer(images), random)
    scores, boxes = answer(images[:1])
    arrays = {"image": images[:1]}
    arrays |= {f"class_{level}": each.numpy() for level, each in scores.items()}
    arrays |= {f"box_{level}": each.numpy() for level, each in boxes.items()}
    tf.train.Checkpoint(model=network).write(os.fspath(out / f"model-garden-{model}.ckpt"))
    np.savez(out / f"model-garden-{model}.npz", **arrays)
    count = sum(int(np.prod(each.shape)) for each in network.trainable_variables)
    print(f"model-garden {model} at {size}: {count} parameters", flush=True)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for request in sys.argv[2:]:
        name, _, side = request.partition(":")
        main(place, name, int(side))
