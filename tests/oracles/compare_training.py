"""Compare losses and training steps with effdet's: python compare_training.py OUT.

OUT is what effdet_training_reference.py wrote; docs/oracles.md tells what is compared and how.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from edgedet.anchors import all_anchors
from edgedet.models import build, preset_spec
from edgedet.models.importers.effdet import import_effdet
from edgedet.training.assignment import assign
from edgedet.training.losses import detection_loss
from edgedet.training.optimizers import compiled
from edgedet.training.options import TrainingOptions

LIMIT = 1e-4
LEARNING_RATE = 0.08
SPEC = preset_spec("efficientdet-d0", list("abcde"), size=256)
LOSSES = ("class_loss", "box_loss")
# A sum that nearly cancels is changed by rounding alone: effdet's own float32 errs by 7e-2 there.
LIMITS = {"losses": LIMIT, "weights and statistics": LIMIT, "change of one tensor": 1e-2}
STILL = 1e-12

Arrays = dict[str, np.ndarray]


def main(out: Path) -> int:
    """Compare every file in `out`; the exit status."""
    cases, runs = sorted(out.glob("loss_*.npz")), sorted(out.glob("steps_*_64_1.npz"))
    if not cases or not runs:
        print(f"{out} has no answers of effdet_training_reference.py.", file=sys.stderr)
        return 2
    print(f"Keras on {keras.backend.backend()}")
    errors = [compare_loss(path) for path in cases]
    errors += [compare_steps(out, path.name.split("_")[1]) for path in runs]
    print(f"largest of all, each by its limit: {max(errors):.1e}, allowed {LIMIT:.0e}")
    return int(not max(errors) <= LIMIT)


class Outputs(keras.Model):
    """Logits and codes that are variables themselves, so that their training shows gradients."""

    def __init__(self, logits: np.ndarray, codes: np.ndarray, smoothing: float) -> None:
        super().__init__()
        self.values = [
            self.add_weight(shape=each.shape, initializer="zeros") for each in (logits, codes)
        ]
        for variable, value in zip(self.values, (logits, codes), strict=True):
            variable.assign(value)
        self.smoothing = smoothing

    def call(self, anchors: Any, training: bool = False) -> list[Any]:
        return [ops.convert_to_tensor(each) for each in self.values]

    def losses_of(self, truth: Arrays) -> tuple[Any, Any]:
        assigned = assign(ops.convert_to_tensor(all_anchors(SPEC)), **truth)
        return detection_loss(*self.call(None), *assigned, label_smoothing=self.smoothing)

    def compute_loss(self, x: Any = None, y: Any = None, *_: Any, **__: Any) -> Any:
        class_loss, box_loss = self.losses_of(y)
        return class_loss + 50.0 * box_loss


def compare_loss(path: Path) -> float:
    """The largest relative error of one batch's loss and gradients."""
    theirs = dict(np.load(path))
    truth = {"boxes": theirs["boxes"], "classes": theirs["classes"].astype(np.int32)}
    anchors = ops.convert_to_tensor(all_anchors(SPEC))
    positive, labels, codes = (np.asarray(each) for each in assign(anchors, **truth))
    chosen = theirs["positive"]
    assert (positive == chosen).all(), f"{(positive != chosen).sum()} anchors assigned otherwise"
    assert (labels[chosen] == theirs["labels"][chosen]).all(), "anchors with another class"
    errors = {"codes": _error(codes[chosen], theirs["target_codes"][chosen])}
    for suffix in sorted(name.removeprefix("total") for name in theirs if "total" in name):
        smoothing = 0.0 if suffix == "_legacy" else float(suffix[1:])
        outputs = Outputs(theirs["logits"], theirs["codes"], smoothing)
        # After one step of a rate of 1 the momentum is the negative gradient.
        outputs.compile(keras.optimizers.SGD(1.0, momentum=0.9), jit_compile=False)
        class_loss, box_loss = outputs.losses_of(truth)
        ours = {"class": class_loss, "box": box_loss}
        ours["total"] = outputs.train_on_batch(np.zeros(len(positive)), truth)
        gradients = [-each.numpy() for each in outputs.optimizer.momentums]
        ours |= zip(("logit_gradient", "code_gradient"), gradients, strict=True)
        for name, each in ours.items():
            errors[name + suffix] = _error(np.asarray(each), theirs[name + suffix])
    print(f"{path.name}: {chosen.sum()} positive anchors, all of them alike")
    print(" ", *(f"{name} {error:.1e}" for name, error in errors.items()), flush=True)
    return max(errors.values())


def compare_steps(out: Path, decay: str) -> float:
    """The largest relative error among losses, weights and their changes of a run's steps.

    A change is the optimizer's momentum, which is added to the weight; the first step's is the
    gradient times the rate. An error with a limit of its own counts in proportion.
    """
    start = dict(np.load(out / "steps.npz"))
    state = _prefixed(start, "state/")
    network, twin = build(SPEC, drop_rate=0.0), build(SPEC)
    import_effdet(state, network)
    options = TrainingOptions(
        optimizer="sgd",
        learning_rate=LEARNING_RATE,
        schedule="step",  # constant for nine tenths of the run
        decay_at=(0.9,),
        decay_to=(0.1,),
        warmup_epochs=0.0,
        weight_decay=float(decay),
        clip_norm=0.0,
    )
    learner = compiled(network, SPEC, options, steps=1000)
    truth = {"boxes": start["boxes"], "classes": start["classes"].astype(np.int32)}
    worst = 0.0
    for step in (1, 2):
        logs = learner.train_on_batch(start["pixels"], truth, return_dict=True)
        ours = [
            {name: np.asarray(logs[name]) for name in LOSSES},
            {each.path: each.numpy() for each in network.weights},
            {
                variable.path: momentum.numpy()
                for variable, momentum in zip(
                    network.trainable_variables, learner.optimizer.momentums, strict=True
                )
            },
        ]
        theirs, rounded = (
            _answers(out / f"steps_{decay}_{bits}_{step}.npz", state, twin) for bits in (64, 32)
        )
        assert theirs is not None, f"step {step} is missing"
        print(f"step {step} with a weight decay of {decay}:")
        for index, (kind, limit) in enumerate(LIMITS.items()):
            error, where = _largest(ours[index], theirs[index])
            print(f"  {kind} {error:.1e} ({where})", end="")
            if rounded is not None:
                beside, place = _largest(rounded[index], theirs[index])
                print(f"; effdet's own in float32 {beside:.1e} ({place})", end="")
            print(flush=True)
            worst = max(worst, error * LIMIT / limit)
        error = _together(ours[-1], theirs[-1])
        print(f"  all changes together {error:.1e}", flush=True)
        worst = max(worst, error)
    return worst


def _answers(path: Path, state: Arrays, twin: keras.Model) -> list[Arrays] | None:
    """Losses, weights and changes under our names and in our layout."""
    if not path.exists():
        return None
    arrays = dict(np.load(path))
    import_effdet(_prefixed(arrays, "state/"), twin)
    weights = {each.path: np.array(each.numpy()) for each in twin.weights}
    import_effdet({**state, **_prefixed(arrays, "velocity/")}, twin)
    changes = {each.path: np.array(each.numpy()) for each in twin.trainable_variables}
    return [{name: arrays[name] for name in LOSSES}, weights, changes]


def _largest(ours: Arrays, theirs: Arrays) -> tuple[float, str]:
    """The largest error, and where it is."""
    largest = max(float(np.abs(each).max()) for each in theirs.values())
    errors = {}
    for name, each in theirs.items():
        # A constant in front of a normalization has no gradient but the rounding's, which is
        # compared with the largest of all.
        if np.abs(each).max() < STILL * largest:
            errors[name] = float(np.abs(ours[name]).max() / largest)
        else:
            errors[name] = _error(ours[name], each)
    where = max(errors, key=lambda name: errors[name])
    return errors[where], where


def _together(ours: Arrays, theirs: Arrays) -> float:
    """The norm of all differences in the norm of all arrays."""
    differences = [np.sum((ours[name] - each) ** 2.0) for name, each in theirs.items()]
    return float(np.sqrt(sum(differences) / sum(np.sum(each**2.0) for each in theirs.values())))


def _prefixed(arrays: Arrays, prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): each for name, each in arrays.items() if name.startswith(prefix)
    }


def _error(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape, f"{ours.shape} is not {theirs.shape}"
    if not theirs.size:
        return 0.0
    difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
    error = difference / largest if largest else difference
    return error if math.isfinite(error) else math.inf


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
