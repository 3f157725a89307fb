"""Import the oracles' weights and compare every output with theirs: python compare.py OUT.

The measure is max |ours - theirs| / max |theirs| of each tensor; it may be 1e-4 (docs/oracles.md).
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from edgedet import anchors, boxes
from edgedet.models import build, count, preset_spec
from edgedet.models.importers.effdet import import_effdet
from edgedet.models.importers.model_garden import import_model_garden

LIMIT = 1e-4
# By origin: its importer, what its models' names begin with here, the ending of its weights.
IMPORTERS: dict[str, tuple[Callable[..., Any], dict[str, str], str]] = {
    "effdet": (import_effdet, {"": "efficientdet-"}, ".safetensors"),
    "model-garden": (
        import_model_garden,
        {"mb": "spinenet-mobile-", "r50-": "retinanet-resnet50-"},
        ".ckpt",
    ),
}


def main(out: Path) -> int:
    """Compare every oracle in `out`; the exit status."""
    answers = sorted(out.glob("*-*.npz"))
    if not answers:
        print(f"{out} has no oracle's answers.", file=sys.stderr)
        return 2
    worst = 0.0
    for path in answers:
        origin = next(name for name in IMPORTERS if path.stem.startswith(f"{name}-"))
        read, prefixes, ending = IMPORTERS[origin]
        model = path.stem.removeprefix(f"{origin}-")
        theirs = next(prefix for prefix in prefixes if model.startswith(prefix))
        preset = prefixes[theirs] + model.removeprefix(theirs)
        worst = max(worst, compare(path, path.with_suffix(ending), preset, read))
    print(f"largest of all: {worst:.1e}, allowed {LIMIT:.0e}")
    return int(not worst <= LIMIT)


def compare(answers: Path, weights: Path, preset: str, read: Callable[..., Any]) -> float:
    """The largest relative error among the outputs of one network, printed with what was read."""
    theirs = dict(np.load(answers))
    image = theirs.pop("image")
    channels = theirs["class_3"].shape[-1]
    plain = preset_spec(preset, ["any"], size=image.shape[1])
    labels = [str(index) for index in range(channels // plain.anchors.per_location)]
    spec = preset_spec(preset, labels, size=image.shape[1])
    network = build(spec)
    report = read(weights, network)
    ours = {name: np.asarray(each) for name, each in network(image).items()}
    decoded = theirs.pop("decoded", None)
    errors = {name: _error(ours.pop(name), each) for name, each in theirs.items()}
    assert not ours, f"no answer to compare {', '.join(ours)} with"
    assert not report.untouched, f"left at their start: {', '.join(report.untouched)}"
    if decoded is not None:
        codes = np.concatenate([theirs[name].reshape(-1, 4) for name in spec.box_outputs])
        within = (codes[:, 2:] < boxes.LOG_SIZE_LIMIT).all(axis=1)  # ours are limited
        ours["decoded"] = boxes.decode(codes, anchors.all_anchors(spec))
        errors["decoded"] = _error(ours["decoded"][within], decoded[within])
    print(
        f"{weights.name}: {count(network).parameters} parameters, {len(report.used)} arrays used, "
        f"{len(report.unused)} not; at {image.shape[1]} pixels:"
    )
    print(" ", *(f"{name} {error:.1e}" for name, error in errors.items()), flush=True)
    return max(errors.values())


def _error(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape, f"{ours.shape} is not {theirs.shape}"
    assert np.isfinite(theirs).all(), "the oracle's answer is not finite"
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    return error if math.isfinite(error) else math.inf


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
