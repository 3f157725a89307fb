"""How to train: every setting of a recipe, checked."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.data.augment import Augmentation
from edgedet.errors import InvalidInputError

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "step")
PRECISIONS = ("float32", "bfloat16", "float16")

_BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (1, 65_536),
    "accumulate": (1, 4096),
    "reference_batch": (0, 65_536),
    "learning_rate": (1e-9, 100.0),
    "warmup_epochs": (0.0, 1000.0),
    "momentum": (0.0, 0.9999),
    "weight_decay": (0.0, 1.0),
    "clip_norm": (0.0, 1e6),
    "average_decay": (0.0, 1.0),
    "drop_rate": (0.0, 0.9),
    "drop_block": (0.0, 0.9),
    "focal_alpha": (0.0, 1.0),
    "focal_gamma": (0.0, 10.0),
    "label_smoothing": (0.0, 0.5),
    "box_loss_weight": (0.0, 1e4),
    "huber_delta": (1e-6, 10.0),
    "patience": (0, 100_000),
    "seed": (0, 2**31 - 1),
}
_WHOLE = ("epochs", "batch_size", "accumulate", "reference_batch", "patience", "seed")


@dataclass(frozen=True)
class TrainingOptions:
    """The settings that decide what a run learns; `edgedet/recipes/*.yaml` hold sets of them.

    Attributes:
        epochs: passes over the data.
        batch_size: examples per step, of all devices and hosts together.
        accumulate: steps whose gradients are averaged before the weights change.
        optimizer: `sgd` (weight decay as an L2 penalty, as the papers have it) or `adamw`
            (decoupled).
        momentum: of `sgd`.
        learning_rate: peak rate, for `reference_batch` examples.
        reference_batch: batch that the rate is for; another one (`batch_size * accumulate`) scales
            it in proportion. 0: the rate is for any batch.
        schedule: after the warm-up: `cosine` to zero, or `step`.
        warmup_epochs: epochs over which the rate rises from zero; at most a fifth of the run.
        decay_at: parts of the run at which `step` changes the rate, rising.
        decay_to: the factor of the peak rate from each of these points on.
        weight_decay: of kernels; normalizations, biases and fusion weights are left out.
        clip_norm: bound of the global gradient norm; 0 is none.
        average_decay: decay of the averaged weights; short runs use a smaller one, so that the
            average spans at most a twentieth of the run. 0: no average.
        drop_rate: stochastic depth of the last block; None is the preset's.
        drop_block: part of the pyramid's features that DropBlock zeroes.
        focal_alpha: focal loss's weight of positives.
        focal_gamma: focal loss's focus.
        label_smoothing: part by which class targets are drawn towards 1/2.
        box_loss_weight: weight of the box loss in the total.
        huber_delta: where the box loss turns from quadratic to linear.
        scale: range of the scale jitter.
        mosaic: probability of a mosaic of four pictures.
        colour: strength of the colour changes.
        autoaugment: AutoAugment's detection policy, `v0` to `v3`, or None.
        grid_mask: probability of a grid mask.
        patience: evaluations without a better AP after which the run ends; 0 is never.
        seed: fixes initial weights, data order and augmentation.
        quantization_aware: round weights and activations in the forward pass as INT8 does.
    """

    epochs: int = 50
    batch_size: int = 16
    accumulate: int = 1
    optimizer: str = "adamw"
    momentum: float = 0.9
    learning_rate: float = 2e-3
    reference_batch: int = 0
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    decay_at: tuple[float, ...] = ()
    decay_to: tuple[float, ...] = ()
    weight_decay: float = 1e-4
    clip_norm: float = 10.0
    average_decay: float = 0.9998
    drop_rate: float | None = None
    drop_block: float = 0.0
    focal_alpha: float = 0.25
    focal_gamma: float = 1.5
    label_smoothing: float = 0.0
    box_loss_weight: float = 50.0
    huber_delta: float = 0.1
    scale: tuple[float, float] = (0.7, 1.4)
    mosaic: float = 0.0
    colour: float = 0.2
    autoaugment: str | None = None
    grid_mask: float = 0.0
    patience: int = 0
    seed: int = 0
    quantization_aware: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if name == "drop_rate" and value is None:
                continue
            kind = int if name in _WHOLE else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
                what = "a whole number" if name in _WHOLE else "a number"
                raise InvalidInputError(f"{name} must be {what} in {low} to {high}, not {value!r}.")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise InvalidInputError(
                    f"{name} must be {' or '.join(known)}, not {getattr(self, name)!r}."
                )
        if not isinstance(self.quantization_aware, bool):
            raise InvalidInputError(
                f"quantization_aware must be true or false, not {self.quantization_aware!r}."
            )
        _check_steps(self)
        # Said once, by the room that knows what its values mean.
        self.augmentation(flip=True)

    def augmentation(self, *, flip: bool) -> Augmentation:
        """What the input pipeline does with pictures; `flip` is the data set's."""
        return Augmentation(
            scale=self.scale,
            flip=flip,
            mosaic=self.mosaic,
            colour=self.colour,
            autoaugment=self.autoaugment,
            grid_mask=self.grid_mask,
        )

    def peak_rate(self, batch_size: int) -> float:
        """The learning rate after the warm-up with `batch_size` examples per step."""
        if not self.reference_batch:
            return self.learning_rate
        return self.learning_rate * batch_size * self.accumulate / self.reference_batch


def _check_steps(options: TrainingOptions) -> None:
    at, to = options.decay_at, options.decay_to
    if len(at) != len(to) or any(not 0 < value < 1 for value in (*at, *to)):
        raise InvalidInputError(
            "decay_at and decay_to must be as many numbers between 0 and 1: parts of the run, and "
            "factors of the rate."
        )
    if list(at) != sorted(at):
        raise InvalidInputError(f"decay_at must rise, not {list(at)}.")
    if options.schedule == "step" and not at:
        raise InvalidInputError("The schedule step needs decay_at and decay_to.")
