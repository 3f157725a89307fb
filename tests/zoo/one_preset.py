"""One preset under one backend, in a process of its own: python one_preset.py BACKEND NAME DIR.

Run by `check_presets.py`, with KERAS_BACKEND in the environment. The TensorFlow process leaves
`network.keras`, `answers.npz` and its figures in DIR; the JAX process reads the first two.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgedet.models import build, count, load_model, preset, preset_spec, save_model
from edgedet.spec import ModelSpec

POLICIES = ("mixed_bfloat16", "mixed_float16")
LABELS = ("cat", "dog", "bird")
SEED = 20
TELLING = 1e-3
"""Outputs that vary less than this over images and places agree whatever the network sees."""
_BATCH = 2
_SMALLEST = 128


def main(words: Sequence[str]) -> None:
    """Check one preset; the figures go to DIR/BACKEND.json."""
    backend, name, directory = words[0], words[1], Path(words[2])
    assert keras.backend.backend() == backend
    if backend == "tensorflow":
        figures = under_tensorflow(name, directory, steps="--no-steps" not in words)
    else:
        figures = under_jax(directory, steps="--steps" in words)
    (directory / f"{backend}.json").write_text(json.dumps(figures), encoding="utf-8")


def under_tensorflow(name: str, directory: Path, *, steps: bool) -> dict[str, Any]:
    """Build at both sizes, save, reload and, with `steps`, train one in each precision.

    Returns:
        `build_seconds` at the preset's own input size, weights included, by the clock, and
        `build_cpu_seconds`, which other programs can't lengthen; `parameters`; `size`, the side
        of the small input; `reload_differs`, the outputs that a reloaded file computes otherwise;
        `spread`, how much the outputs vary over places and images: the smallest of all outputs'
        standard deviations, relative to the output's largest value; with `steps`, what
        `train_steps` says.
    """
    clock, processor = time.perf_counter(), time.process_time()
    parameters = count(build(name)).parameters
    figures: dict[str, Any] = {
        "build_seconds": time.perf_counter() - clock,
        "build_cpu_seconds": time.process_time() - processor,
        "parameters": parameters,
    }
    keras.backend.clear_session()

    spec = preset_spec(name, LABELS, size=max(_SMALLEST, 2 ** preset(name).levels[1]))
    rng = np.random.default_rng(SEED)
    images = rng.normal(size=(_BATCH, spec.input.height, spec.input.width, 3)).astype(np.float32)
    network = build(spec, drop_rate=0.0)
    perturb(network, images, rng)
    answers = outputs(network, images)
    save_model(network, spec, directory / "network.keras")
    stored: dict[str, Any] = {"images": images, **answers}
    np.savez(directory / "answers.npz", **stored)
    reloaded, spec_read = load_model(directory / "network.keras")
    assert spec_read == spec
    again = outputs(reloaded, images)
    assert again.keys() == answers.keys()
    figures |= {
        "size": spec.input.height,
        "reload_differs": [key for key in answers if not np.array_equal(answers[key], again[key])],
        "spread": min(spread(values) for values in answers.values()),
    }
    del network, reloaded
    return figures | train_steps(spec, images) if steps else figures


def under_jax(directory: Path, *, steps: bool) -> dict[str, Any]:
    """Compute what TensorFlow did, from its file; with `steps`, train one in each precision.

    Returns:
        `jax_error`: max |a - b| / max |b| of the worst output, and `jax_output`, its name;
        with `steps`, `jax_losses` and so on: what `train_steps` says.
    """
    import jax

    with np.load(directory / "answers.npz") as stored:
        expected = dict(stored)
    images = expected.pop("images")
    # The initializers, which JAX compiles for every shape, would take longer than all else: the
    # scope leaves them out and holds what the file's weights are.
    with keras.StatelessScope(initialize_variables=False) as scope:
        network, spec = load_model(directory / "network.keras")

    def loaded(variables: Sequence[keras.Variable]) -> list[Any]:
        values = [(variable, scope.get_current_value(variable)) for variable in variables]
        missing = {variable.name for variable, value in values if value is None}
        assert missing <= {"seed_generator_state"}, missing  # files have no such state
        return [
            np.zeros(variable.shape, variable.dtype) if value is None else value
            for variable, value in values
        ]

    def compute(trained: Any, other: Any, images: Any) -> dict[str, Any]:
        answers: dict[str, Any] = network.stateless_call(trained, other, images, training=False)[0]
        return answers

    answers = jax.jit(compute)(
        loaded(network.trainable_variables), loaded(network.non_trainable_variables), images
    )
    assert answers.keys() == expected.keys()
    errors = {
        key: float(np.abs(np.asarray(answers[key]) - value).max() / np.abs(value).max())
        for key, value in expected.items()
    }
    # NaN must come out as the worst.
    worst = max(errors, key=lambda key: np.nan_to_num(errors[key], nan=np.inf))
    figures: dict[str, Any] = {"jax_error": errors[worst], "jax_output": worst}
    if steps:
        # Compiling the step of a large network well takes longer than a hundred such steps.
        jax.config.update("jax_disable_most_optimizations", True)
        trained = train_steps(spec, images)
        figures |= {f"jax_{key}": value for key, value in trained.items()}
    return figures


def perturb(network: keras.Model, images: np.ndarray, rng: np.random.Generator) -> None:
    """Give every weight a value of its own, in a range that keeps the outputs telling.

    Kernels get He et al.'s variance; normalizations the statistics of `images`, then changed at
    random: with statistics of chance alone, deep networks saturate or die out. The class
    predictor's bias loses its start, beside which differences would look small.
    """
    for weight in network.weights:
        shape = tuple(weight.shape)
        if weight.name.endswith("kernel"):
            # The kernel of a depthwise convolution has a column for each channel and multiplier.
            inputs = np.prod(shape[:2] if shape[-1] == 1 and len(shape) == 4 else shape[:-1])
            weight.assign(rng.normal(scale=(2.0 / inputs) ** 0.5, size=shape))
        elif weight.name in ("gamma", "fusion_weights"):
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif weight.name in ("beta", "bias"):
            weight.assign(rng.normal(scale=0.1, size=shape))
    normalizations = [
        layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    network(images, training=True)
    statistics = []
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
        mean, variance = map(keras.ops.convert_to_numpy, (layer.moving_mean, layer.moving_variance))
        deviation = np.sqrt(variance) * rng.normal(scale=0.1, size=mean.shape)
        layer.moving_mean.assign(mean + deviation)
        statistics.append((layer.moving_variance, variance, rng.uniform(1.0, 2.0, mean.shape)))
    # A gain a little above one at every layer amplifies float32's rounding without bound; one
    # below forgets the picture. Where it lies depends on the depth: the first that tells will do.
    for part in (1.0, 0.85, 0.7, 0.5, 0.35):
        for variable, variance, factor in statistics:
            # Of two pictures it may be almost nothing.
            variable.assign(part * (variance * factor + 0.05))
        if min(spread(values) for values in outputs(network, images).values()) >= TELLING:
            break


def outputs(network: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every head's answer, layer by layer: compiling takes longer than a few calls save."""
    answers = network(images, training=False)
    return {key: keras.ops.convert_to_numpy(value) for key, value in answers.items()}


def spread(values: np.ndarray) -> float:
    """Standard deviation over images and places, channels averaged, relative to the largest."""
    return float(values.std(axis=(0, 1, 2)).mean() / np.abs(values).max())


def train_steps(spec: ModelSpec, images: np.ndarray) -> dict[str, Any]:
    """Train one step in each precision.

    Returns:
        `losses`: the loss by policy; `spoilt`: the policies that leave a weight, an average of
        the weights or a moment of the gradients not finite; `skipped`: those whose scaled
        gradients overflow, so that the step only halves the scale, as it may in float16.
    """
    from edgedet.training import TrainingOptions
    from edgedet.training.optimizers import compiled

    side = spec.input.width
    boxes: np.ndarray = np.full((len(images), 3, 4), -1, np.float32)
    boxes[:, :2] = np.float32([[8, 8, 40, 40], [side / 4, side / 3, 0.9 * side, 0.8 * side]])
    classes = np.tile(np.int32([1, 2, -1]), (len(images), 1))
    pictures = np.clip(64 * images + 128, 0, 255).astype(np.uint8)
    losses: dict[str, float] = {}
    spoilt, skipped = [], []
    default = keras.config.dtype_policy()
    for policy in POLICIES:
        keras.utils.set_random_seed(SEED)
        keras.config.set_dtype_policy(policy)
        learner = compiled(build(spec), spec, TrainingOptions(epochs=1), 10)
        # TensorFlow traces for minutes what it computes in seconds; JAX the other way round.
        learner.run_eagerly = keras.backend.backend() == "tensorflow"
        told = learner.train_on_batch(pictures, {"boxes": boxes, "classes": classes})
        losses[policy] = float(np.ravel(told)[0])
        variables = [*learner.variables, *learner.optimizer.variables]
        if not all(np.isfinite(np.asarray(each, np.float32)).all() for each in variables):
            spoilt.append(policy)
        scaled = isinstance(learner.optimizer, keras.optimizers.LossScaleOptimizer)
        if scaled and float(learner.optimizer.dynamic_scale) < learner.optimizer.initial_scale:
            skipped.append(policy)
        del learner
        keras.config.set_dtype_policy(default)
        keras.backend.clear_session()
    return {"losses": losses, "spoilt": spoilt, "skipped": skipped}


if __name__ == "__main__":
    main(sys.argv[1:])
