"""What is varied to keep an INT8 model accurate, the same for every format."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.errors import InvalidInputError

RANGES = ("fitted", "mse", "percentile")
"""How activation ranges are chosen: least and greatest values without what changes nothing, the
ranges of least squared rounding error, and the first with the rarest values left out."""

_LISTED = 3


@dataclass(frozen=True)
class QuantizationSettings:
    """How a network is quantized.

    Attributes:
        ranges: how activation ranges are chosen, one of `RANGES`.
        bias_correction: whether the mean error that rounding gives each output channel of a
            convolution is taken off its bias.
        equalization: whether the weights of neighbouring convolutions are scaled against each
            other so that their channels have like ranges.
        keep: names of the Keras layers that stay in float.

    Raises:
        InvalidInputError: there is no such way to choose ranges.
    """

    ranges: str = "fitted"
    bias_correction: bool = False
    equalization: bool = False
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ranges not in RANGES:
            raise InvalidInputError(
                f"There is no way {self.ranges!r} to choose ranges; use one of {', '.join(RANGES)}."
            )

    def describe(self) -> str:
        """What is done, in plain words."""
        steps = [f"{self.ranges} ranges"]
        if self.equalization:
            steps.append("cross-layer equalization")
        if self.bias_correction:
            steps.append("bias correction")
        if self.keep:
            named = ", ".join(self.keep[:_LISTED]) + (", ..." if len(self.keep) > _LISTED else "")
            layers = "layer" if len(self.keep) == 1 else "layers"
            steps.append(f"{len(self.keep)} {layers} in float ({named})")
        return ", ".join(steps)
