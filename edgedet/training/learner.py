"""The Keras model that `fit` trains: a network, its loss, and the moving average of its weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from edgedet.anchors import all_anchors
from edgedet.quantization.fake_quantization import FakeQuantized
from edgedet.spec import ModelSpec
from edgedet.training.assignment import assign
from edgedet.training.losses import detection_loss
from edgedet.training.options import TrainingOptions
from edgedet.training.remat import Rematerialized

Tensor = Any


class LastValue(keras.metrics.Metric):
    """A step's own value, where Keras's metrics give the mean of an epoch so far."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.value = self.add_variable((), "zeros", name="value")

    def update_state(self, value: Tensor) -> None:
        """Take the value of this step."""
        self.value.assign(ops.cast(value, self.value.dtype))

    def result(self) -> Tensor:
        """The value of the last step."""
        return ops.convert_to_tensor(self.value)


class DetectionLearner(keras.Model):
    """A network with EfficientDet's loss and an exponential moving average of all its weights.

    Pictures come as uint8 and are normalized here, within the compiled step: a quarter of the bytes
    travel from the input pipeline to the device.

    The average covers batch statistics too (EfficientDet, section 5.1) and is kept in variables
    of the learner, updated within the compiled step, so that it works alike on every backend.

    Args:
        network: from `edgedet.models.build`.
        spec: its spec.
        options: the loss's settings.
        average_decay: decay of the moving average; it starts small and grows to this value.
    """

    def __init__(
        self,
        network: keras.Model,
        spec: ModelSpec,
        options: TrainingOptions,
        *,
        average_decay: float,
    ) -> None:
        super().__init__(name="learner")
        self.network = network
        self.spec = spec
        self.options = options
        self.average_decay = average_decay
        self.anchors = np.asarray(all_anchors(spec))
        self.mean = np.asarray(spec.input.mean, np.float32)
        self.std = np.asarray(spec.input.std, np.float32)
        self.rematerialized: Rematerialized | None = None
        self.fake_quantized: FakeQuantized | None = None
        self.detection_loss = LastValue("detection_loss")
        self.class_loss = LastValue("class_loss")
        self.box_loss = LastValue("box_loss")
        # The papers' weight decay is an L2 penalty: momentum and clipping see its gradient. AdamW's
        # is its own business.
        self.penalty = options.weight_decay if options.optimizer == "sgd" else 0.0
        self.updates = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="average_updates"
        )
        self.averages = [
            self.add_weight(
                shape=weight.shape,
                # Bound now: the initializer runs at once, and the average starts at the weights;
                # a copy, because PyTorch would share one memory between the two.
                initializer=lambda shape, dtype=None, value=weight: ops.copy(value),
                trainable=False,
                name=f"average_{index}",
            )
            for index, weight in enumerate(network.weights)
        ]

    def call(self, images: Tensor, training: bool = False) -> dict[str, Tensor]:
        """Raw heads of uint8 images [B, H, W, 3]."""
        normalized = self.normalized(images)
        if self.fake_quantized is not None:
            return self.fake_quantized(normalized)
        if training and self.rematerialized is not None:
            return self.rematerialized(normalized)
        outputs: dict[str, Tensor] = self.network(normalized, training=training)
        return outputs

    def normalized(self, images: Tensor) -> Tensor:
        """The network's float32 input for uint8 images."""
        return (ops.cast(images, "float32") - self.mean) / self.std

    def fake_quantize(self) -> None:
        """Compute as an INT8 file will from now on; `fake_quantized.calibrate` sets the ranges."""
        ranges = self.add_weight(
            shape=(FakeQuantized.count(self.network), 2),
            initializer="zeros",
            trainable=False,
            name="activation_ranges",
        )
        self.fake_quantized = FakeQuantized(self.network, ranges)

    def rematerialize(self) -> None:
        """Keep few activations for the backward pass from now on; JAX only."""
        self.rematerialized = Rematerialized(self.network)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Total loss of a batch; `y` holds `boxes` [B, M, 4] and `classes` [B, M], padded by -1.

        While training with SGD it contains the penalty of the weights; the metrics don't.
        """
        assigned = assign(ops.convert_to_tensor(self.anchors), **y)
        # An anytime network learns at every exit (deep supervision: NAS-FPN, section 3.2).
        exits = sorted({name.partition("class_")[0] for name in y_pred if "class_" in name})
        losses = [self._loss(y_pred, prefix, assigned) for prefix in exits]
        class_loss, box_loss = (sum(parts) / len(exits) for parts in zip(*losses, strict=True))
        total = class_loss + self.options.box_loss_weight * box_loss
        self.class_loss.update_state(class_loss)
        self.box_loss.update_state(box_loss)
        self.detection_loss.update_state(total)
        if not training:
            return total
        self._update_averages()
        if self.penalty:
            squares = [
                ops.sum(ops.square(ops.cast(v, "float32")))
                for v in self.network.trainable_variables
                if is_decayed(v)
            ]
            total = total + 0.5 * self.penalty * sum(squares)
        return total

    def _loss(self, y_pred: Any, prefix: str, assigned: Any) -> tuple[Tensor, Tensor]:
        """Class and box loss of the heads whose outputs' names begin with `prefix`."""
        levels = self.spec.anchors.levels
        logits = self._joined(
            [y_pred[f"{prefix}class_{level}"] for level in levels], self.spec.num_classes
        )
        codes = self._joined([y_pred[f"{prefix}box_{level}"] for level in levels], 4)
        loss = partial(
            detection_loss,
            alpha=self.options.focal_alpha,
            gamma=self.options.focal_gamma,
            delta=self.options.huber_delta,
            label_smoothing=self.options.label_smoothing,
        )
        if self.rematerialized is not None:
            # The focal loss keeps several arrays as large as all class logits.
            loss = keras.remat(loss)
        found: tuple[Tensor, Tensor] = loss(logits, codes, *assigned)
        return found

    def averaged_values(self) -> list[np.ndarray]:
        """The averaged weights, in the order of `network.weights`."""
        return [ops.convert_to_numpy(average) for average in self.averages]

    def _joined(self, maps: list[Tensor], width: int) -> Tensor:
        flat = [ops.reshape(level, (ops.shape(level)[0], -1, width)) for level in maps]
        return ops.cast(ops.concatenate(flat, axis=1), "float32")

    def _update_averages(self) -> None:
        # A young average follows the weights closely: (1 + n) / (10 + n), as TensorFlow's does.
        decay = ops.minimum(self.average_decay, (1.0 + self.updates) / (10.0 + self.updates))
        for average, weight in zip(self.averages, self.network.weights, strict=True):
            # PyTorch would otherwise keep the average in the graph of the gradient.
            current = ops.stop_gradient(ops.cast(weight, "float32"))
            average.assign(average + (1.0 - decay) * (current - average))
        self.updates.assign(self.updates + 1.0)


def is_decayed(variable: Any) -> bool:
    """Whether weight decay holds for a variable: kernels only.

    EfficientDet's published code leaves out biases, normalizations and fusion weights.
    """
    return str(variable.name) == "kernel"
