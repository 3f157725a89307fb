"""OpenVINO INT8: NNCF's post-training quantization of a float network, heads left float.

Convolutions and their neighbours get quantizers around them, weights per channel, and OpenVINO
multiplies int8. The network's input and outputs stay float32.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.converters.conversion import ReportedInputs
from edgedet.quantization.settings import QuantizationSettings

# Folding a normalization into a convolution changes its weights' last digits.
_TOLERANCE = 1e-3

# Values left out at either end of a picture's range.
_OUTLIERS = 1e-4

# What numbers a layer whose weights are used again.
_NUMBER = re.compile(r"\.\d+$")


def quantized(model: Any, inputs: ReportedInputs, settings: QuantizationSettings) -> Any:
    """A float32 `openvino.Model` in INT8; the model itself may be changed.

    Args:
        model: float32, its convolutions named by `name_convolutions`.
        inputs: of the calibration pictures.
        settings: how to quantize. Fitted ranges are NNCF's choice, from least to greatest value;
            its fast bias correction is always on, and `bias_correction` asks for the exact one,
            layer after layer, which takes three times as long. Of `keep`, the convolutions
            count; there is no equalization.
    """
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        RangeEstimatorParametersSet,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    # NNCF's own leaves out a hundredth at either end, which takes 7 AP from M0.
    inner = StatisticsCollectorParameters(
        StatisticsType.QUANTILE, AggregatorType.MEAN, quantile_outlier_prob=_OUTLIERS
    )
    estimators = {
        "fitted": RangeEstimatorParameters(),
        "percentile": RangeEstimatorParameters(min=inner, max=inner),
        "mse": RangeEstimatorParametersSet.HISTOGRAM,
    }
    kept = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if _NUMBER.sub("", node.get_friendly_name()) in settings.keep
    ]
    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        # Swish is lopsided: symmetric activations would waste almost half of their steps.
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(inputs),
        fast_bias_correction=not settings.bias_correction,
        ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
        advanced_parameters=AdvancedQuantizationParameters(
            # It fails with NNCF 3.4, and swish would leave it little to align.
            disable_channel_alignment=True,
            activations_range_estimator_params=estimators[settings.ranges],
        ),
    )


def name_convolutions(model: Any, kernels: Mapping[str, Iterable[npt.NDArray[np.float32]]]) -> None:
    """Call the convolutions of an `openvino.Model` after the Keras layers they come from.

    OpenVINO's reader drops the names on its way to channels-first. The weights still tell, up to a
    factor of each output channel, which normalizations and fusions bring in.

    Args:
        model: float32; its convolutions' friendly names change, to `layer` or `layer.2`.
        kernels: by layer, weights with one row for each output channel.
    """
    known: dict[tuple[int, ...], list[tuple[str, npt.NDArray[np.float32]]]] = {}
    for layer, rows in kernels.items():
        for weights in rows:
            known.setdefault(weights.shape, []).append((layer, _scaled(weights)))
    taken: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        if node.get_type_name() not in ("Convolution", "GroupConvolution"):
            continue
        source = node.input_value(1).get_node()
        if source.get_type_name() != "Constant":
            continue
        values = np.asarray(source.data, np.float32)
        # [outputs, inputs, rows, columns], behind the groups where there are some.
        outputs = values.shape[0] * (values.shape[1] if values.ndim == 5 else 1)
        weights = _scaled(values.reshape(outputs, -1))
        distances = [
            (float(np.abs(weights - candidate).max()), layer)
            for layer, candidate in known.get(weights.shape, [])
        ]
        distance, layer = min(distances, default=(np.inf, ""))
        if distance < _TOLERANCE:
            taken[layer] += 1
            count = taken[layer]
            node.set_friendly_name(layer if count == 1 else f"{layer}.{count}")


def _scaled(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each row divided by its entry of the greatest magnitude."""
    places = np.abs(rows).argmax(axis=1)
    greatest = rows[np.arange(len(rows)), places][:, None]
    return np.asarray(rows / np.where(greatest == 0, 1, greatest), np.float32)
