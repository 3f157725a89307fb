"""How well the heads of a converted network follow the float one, whatever engine runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.quantization.ranges import CLASS_FLOOR, likely_anchors
from edgedet.quantization.sensitivity import PERFECT_SQNR, HeadFidelity
from edgedet.spec import ModelSpec

Running = Callable[[npt.NDArray[np.float32]], Mapping[str, npt.NDArray[np.float32]]]
"""Computes a network's float outputs, by name, for its input."""


def compare_running(
    original: Running,
    converted: Running,
    inputs: Iterable[npt.NDArray[np.float32]],
    spec: ModelSpec,
) -> list[HeadFidelity]:
    """Run two networks on the same inputs and compare their heads.

    As `quantization.sensitivity.compare_heads` does: class logits from `CLASS_FLOOR` up, box codes
    of anchors that may hold an object, without the float network's mean.

    Args:
        original: the float network.
        converted: the network to judge.
        inputs: network inputs [batch, height, width, 3], few: what is compared is kept.
        spec: their spec.
    """
    pairs: dict[str, list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]] = {}
    for tensor in inputs:
        expected, found = original(tensor), converted(tensor)
        for class_name, box_name in zip(spec.class_outputs, spec.box_outputs, strict=True):
            logits = expected[class_name]
            judged = np.maximum(logits, CLASS_FLOOR), np.maximum(found[class_name], CLASS_FLOOR)
            pairs.setdefault(class_name, []).append((judged[0].ravel(), judged[1].ravel()))
            likely = likely_anchors(logits.reshape(-1, spec.num_classes))
            first, second = (
                side[box_name].reshape(-1, 4)[likely].ravel() for side in (expected, found)
            )
            pairs.setdefault(box_name, []).append((first, second))
    return [_fidelity(name, pairs[name]) for name in (*spec.class_outputs, *spec.box_outputs)]


def _fidelity(
    name: str, pairs: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]]
) -> HeadFidelity:
    x, q = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
    signal, error = float(x.var()), float(((x - q) ** 2).mean())
    if error == 0:
        return HeadFidelity(name, None, None, PERFECT_SQNR, 1.0)
    sqnr = 10 * np.log10(signal / error) if signal else -PERFECT_SQNR
    spread = float(x.std() * q.std())
    correlation = float(((x - x.mean()) * (q - q.mean())).mean()) / spread if spread else 0.0
    return HeadFidelity(
        name, None, None, float(np.clip(sqnr, -PERFECT_SQNR, PERFECT_SQNR)), correlation
    )
