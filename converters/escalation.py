"""The attempts to keep an INT8 file accurate: the cheapest first, each built on the best so far."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet import archive
from edgedet.converters.conversion import Conversion, Progress
from edgedet.converters.formats import SETTINGS, convert, exported_network
from edgedet.converters.saved_model import Exported
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.quantization.accuracy import Accuracy, measure
from edgedet.quantization.block_sensitivity import BlockSensitivity, most_sensitive, rank_blocks
from edgedet.quantization.calibration import CalibrationSet
from edgedet.quantization.ranges import fit_ranges, observe
from edgedet.quantization.settings import RANGES, QuantizationSettings

if TYPE_CHECKING:
    from edgedet.data.dataset import DetectionDataset

# Of the noise that all blocks bring in, what the layers kept in float account for, in turn.
_SHARES = (0.3, 0.5, 0.75)
_RANGE_IMAGES = 32
_RANKED_IMAGES = 4
_FINE_TUNED = "quantization-aware training"
FineTune = Callable[[Path, QuantizationSettings, Progress], "Path | None"]
"""Trains a `.keras` file on for INT8, for the settings that were best; None if it can't."""


@dataclass(frozen=True)
class Attempt:
    """One way to quantize, and what became of it.

    Attributes:
        step: what was done, in plain words.
        settings: how it was quantized.
        accuracy: of the file, on the val split.
        drop: AP lost against float32, in points of 100.
        bytes: size of the file, or of OpenVINO's two.
        seconds: conversion and evaluation.
        met: whether the drop is within the budget.
    """

    step: str
    settings: QuantizationSettings
    accuracy: Accuracy
    drop: float
    bytes: int
    seconds: float
    met: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "step": self.step,
            "settings": dataclasses.asdict(self.settings),
            "AP": self.accuracy.metrics["AP"],
            "drop": self.drop,
            "bytes": self.bytes,
            "seconds": self.seconds,
            "met": self.met,
        }


@dataclass
class Search:
    """The attempts at one format, and the best of them.

    Attributes:
        format: `tflite`, `openvino` or `onnx`.
        attempts: what was tried, in order.
        best: index of the attempt of highest AP.
        conversion: the best attempt's; its files lie in the scratch directory.
        failures: a sentence on each step that could not be taken.
    """

    format: str
    attempts: list[Attempt] = field(default_factory=list)
    best: int = -1
    conversion: Conversion | None = None
    failures: list[str] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether the last attempt is within the budget; it is the best then."""
        return bool(self.attempts) and self.attempts[-1].met

    def settings(self) -> QuantizationSettings:
        """Those of the best attempt."""
        return self.attempts[self.best].settings


class Attempts:
    """Conversions and evaluations of one model against one budget.

    Args:
        source: the `.keras` file.
        data: its data.yaml.
        pictures: what to calibrate on.
        scratch: directory for the files of all attempts.
        dataset: what to evaluate on.
        max_drop: most AP that may be lost, in points of 100.
        report: told what is being done.
    """

    def __init__(
        self,
        source: Path,
        data: Path,
        pictures: CalibrationSet,
        scratch: Path,
        dataset: DetectionDataset,
        max_drop: float,
        report: Progress,
    ) -> None:
        self.source, self.data, self.pictures = source, data, pictures
        self.scratch, self.dataset = scratch, dataset
        self.max_drop, self.report = max_drop, report
        self.baseline: Accuracy | None = None
        self._original = b""
        self._ranked: list[BlockSensitivity] | None = None

    def float32(self, network: Exported) -> Accuracy:
        """Convert to float32 and evaluate it: what the drop is measured against."""
        (conversion,) = convert(
            self.source, ["tflite"], network=network, out=self.scratch, progress=self.report
        )
        self._original = archive.read_model(conversion.path)[1]
        self._spec = conversion.spec
        self.baseline = self._measured(conversion.path, "Evaluating float32")
        if self.baseline.metrics["AP"] < 0:
            raise InvalidInputError(
                f"{self.data}: the val split has no objects to measure accuracy on; add some."
            )
        return self.baseline

    def search(self, search: Search, network: Exported, fine_tune: FineTune | None) -> None:
        """Try one step after another until one is within the budget."""
        for step, settings in steps(search, self.ranked):
            with _excused(search, step):
                self.attempt(search, step, settings, self.source, network)
            if search.met:
                return
        if fine_tune is not None:
            with _excused(search, _FINE_TUNED):
                self._fine_tune(search, network, fine_tune)

    def _fine_tune(self, search: Search, network: Exported, fine_tune: FineTune) -> None:
        trained = fine_tune(self.source, search.settings(), self.report)
        if trained is None:
            return
        variant = network.variant
        with exported_network(
            trained, stack=variant.stack, size=variant.size, progress=self.report
        ) as better:
            self.attempt(search, _FINE_TUNED, search.settings(), trained, better)

    def attempt(
        self,
        search: Search,
        step: str,
        settings: QuantizationSettings,
        source: Path,
        network: Exported,
    ) -> None:
        """Convert and evaluate, and remember it if it is the best so far."""
        assert self.baseline is not None
        started = time.perf_counter()
        place = self.scratch / f"{search.format}{len(search.attempts) + len(search.failures)}"
        (conversion,) = convert(
            source,
            [search.format],
            precision="int8",
            pictures=self.pictures,
            settings=settings,
            out=place,
            network=network,
            progress=self.report,
        )
        accuracy = self._measured(conversion.path, f"Evaluating {search.format}: {step}")
        drop = self.baseline.points - accuracy.points
        search.attempts.append(
            Attempt(
                step=step,
                settings=settings,
                accuracy=accuracy,
                drop=drop,
                bytes=conversion.file_bytes,
                seconds=round(time.perf_counter() - started, 1),
                met=drop <= self.max_drop,
            )
        )
        best = search.attempts[search.best] if search.conversion else None
        if best is None or drop < best.drop:
            search.best, search.conversion = len(search.attempts) - 1, conversion

    def ranked(self) -> list[BlockSensitivity]:
        """The network's blocks, the most sensitive first; measured once for all formats."""
        if self._ranked is None:
            self.report("Measuring the sensitivity of each block", 0, 0)
            observed = self.pictures.part(_RANGE_IMAGES).inputs(self._spec)
            observation = observe(self._original, observed, self._spec)
            self._ranked = rank_blocks(
                self._original,
                fit_ranges(self._original, observation, self._spec),
                self.pictures.part(_RANKED_IMAGES).inputs(self._spec),
                self._spec,
                lambda done, total: self.report(
                    "Measuring the sensitivity of each block", done, total
                ),
            )
        return self._ranked

    @property
    def measured_sensitivity(self) -> list[dict[str, Any]]:
        """The blocks as the report shows them; empty where nothing had to be measured."""
        return [{"layer": block.name, "loss": block.loss} for block in self._ranked or []]

    def _measured(self, path: Path, text: str) -> Accuracy:
        self.report(text, 0, len(self.dataset.samples))
        return measure(path, self.dataset, lambda done, total: self.report(text, done, total))


@contextmanager
def _excused(search: Search, step: str) -> Iterator[None]:
    """Remember that a step failed and go on, if there is a result already that counts.

    Input that is wrong and a disk that can't be written fail at every step.
    """
    try:
        yield
    except InvalidInputError:
        raise
    except EdgeDetError as error:
        if not search.attempts or isinstance(error.__cause__, OSError):
            raise
        search.failures.append(f"{step} failed: {error}")


def steps(
    search: Search, ranked: Callable[[], list[BlockSensitivity]]
) -> Iterator[tuple[str, QuantizationSettings]]:
    """What to try, the cheapest first; each stage goes on from the best attempt before it."""
    effective = SETTINGS[search.format]
    for ranges in RANGES if "ranges" in effective else RANGES[:1]:
        yield f"{ranges} ranges", QuantizationSettings(ranges=ranges)
    settings = search.settings()
    if "bias_correction" in effective:
        settings = dataclasses.replace(settings, bias_correction=True)
        yield "bias correction", settings
    if "equalization" in effective:
        yield (
            "cross-layer equalization, then bias correction",
            dataclasses.replace(settings, equalization=True),
        )
    if "keep" not in effective:
        return
    settings = search.settings()
    tried: set[tuple[str, ...]] = set()
    for share in _SHARES:
        keep = most_sensitive(ranked(), share)
        if keep and keep not in tried:
            tried.add(keep)
            yield (
                f"the {len(keep)} most sensitive layers in float",
                dataclasses.replace(settings, keep=keep),
            )
