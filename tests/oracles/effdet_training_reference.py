"""effdet's loss, and two steps of its training: python effdet_training_reference.py OUT.

Run in the environment of effdet_reference.py (docs/oracles.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from effdet import EfficientDet, get_efficientdet_config
from effdet.anchors import AnchorLabeler, Anchors
from effdet.bench import DetBenchTrain
from effdet.loss import DetectionLoss
from effdet_reference import randomize
from timm.optim import param_groups_weight_decay
from torch import nn

SIZE = 256
NUM_CLASSES = 5
SMOOTHINGS = (0.0, 0.1)
STEPS = 2
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LEARNING_RATE = 0.08
MOMENTUM = 0.9
# The papers', and one so large that its place in the update shows within two steps.
WEIGHT_DECAYS = (4e-5, 4e-2)


class Truth(NamedTuple):
    """Boxes `x0, y0, x1, y1` [B, M, 4] and classes from 0 [B, M], padded by -1."""

    boxes: torch.Tensor
    classes: torch.Tensor


def configuration(smoothing: float = 0.0, *, legacy: bool = False) -> Any:
    config = get_efficientdet_config("tf_efficientdet_d0")
    config.image_size = (SIZE, SIZE)
    config.num_classes = NUM_CLASSES
    config.aspect_ratios = [1.0, 2.0, 0.5]  # it rounds the sides of these to one digit
    config.backbone_args = {**config.backbone_args, "drop_path_rate": 0.0}
    config.label_smoothing = smoothing
    config.legacy_focal = legacy
    return config


def padded(pictures: list[list[tuple[float, ...]]]) -> Truth:
    """From boxes `x0, y0, x1, y1, class` of each picture."""
    longest = max(1, *map(len, pictures))
    boxes = torch.zeros(len(pictures), longest, 4)
    classes = torch.full((len(pictures), longest), -1)
    for index, picture in enumerate(pictures):
        for place, (*corners, label) in enumerate(picture):
            boxes[index, place] = torch.tensor(corners)
            classes[index, place] = int(label)
    return Truth(boxes, classes)


def drawn(rng: np.random.Generator, counts: tuple[int, ...]) -> Truth:
    """Boxes of 3 to 256 pixels within the picture; `counts` of them in each."""
    pictures = []
    for count in counts:
        sides = np.exp(rng.uniform(np.log(3), np.log(SIZE), (count, 2)))
        corners = rng.uniform(0, 1, (count, 2)) * (SIZE - sides)
        labels = rng.integers(0, NUM_CLASSES, (count, 1))
        pictures.append(np.hstack([corners, corners + sides, labels]).tolist())
    return padded(pictures)


def hard() -> Truth:
    """What an assignment can get wrong, by the anchors of 32 x 32 pixels at 4, 12, 20, ..."""
    tiny = [(20.3, 30.1, 23.9, 33.2, 0), (21.0, 30.7, 24.5, 32.9, 1), (201.2, 7.7, 204.4, 9.9, 2)]
    # A square of 8 pixels overlaps the many anchors around it alike; twins want the same anchor.
    ties = [(100, 100, 108, 108, 3), (100, 100, 108, 108, 4), (180, 60, 188, 68, 1)]
    # The anchor at (68, 68) has an IoU of exactly 1/2, and a neighbour of it more.
    at_threshold = [(60.5, 56.0, 85.5, 94.0, 2)]
    on_anchors = [(52, 52, 84, 84, 0), (116, 124, 148, 156, 4)]
    # Of 64 pixels: the anchors of two levels and several octaves reach 1/2.
    crossing = [(80.2, 81.3, 145.7, 144.9, 1), (85.2, 78.8, 150.1, 146.3, 2)]
    long = [(0.5, 120.5, 255.5, 126.0, 3), (40.0, 1.0, 47.5, 250.0, 0)]
    return padded([[], tiny, ties, at_threshold, on_anchors, crossing, long])


def labelled(truth: Truth) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Class targets (-1 without a box) and box targets of each level, and positives."""
    config = configuration()
    labeler = AnchorLabeler(Anchors.from_config(config), config.num_classes, match_threshold=0.5)
    # Its boxes have y first, its classes start from 1.
    classes = torch.where(truth.classes >= 0, truth.classes + 1, -1)
    return labeler.batch_label_anchors(truth.boxes[..., [1, 0, 3, 2]], classes)


def flat(levels: list[torch.Tensor], width: int) -> torch.Tensor:
    return torch.cat([each.reshape(len(each), -1, width) for each in levels], dim=1)


def write_losses(path: Path, truth: Truth, generator: torch.Generator) -> None:
    class_targets, box_targets, positives = labelled(truth)
    positive = flat(class_targets, 1)[..., 0] >= 0
    target_codes = flat(box_targets, 4)
    shape = (*positive.shape, NUM_CLASSES)
    logits = -3.0 + 2.0 * torch.randn(shape, generator=generator)
    extreme = torch.rand(shape, generator=generator) < 1e-3
    logits = torch.where(extreme, 6.0 * logits, logits)  # sigmoids at their ends
    codes = target_codes + 0.2 * torch.randn(target_codes.shape, generator=generator)
    arrays = {
        "boxes": truth.boxes,
        "classes": truth.classes,
        "logits": logits,
        "codes": codes,
        "positive": positive,
        "labels": flat(class_targets, 1)[..., 0],
        "target_codes": target_codes,
    }
    # effdet, as google/automl, takes a code that is exactly zero for one without a box: a box that
    # lies level with its anchor isn't told so. Ours count them, as the papers say nothing of it.
    aligned = positive[..., None] & (target_codes == 0)
    counted = [
        torch.where((targets == 0) & (classes >= 0).repeat_interleave(4, dim=-1), 1e-30, targets)
        for classes, targets in zip(class_targets, box_targets, strict=True)
    ]
    variants = {f"_{smoothing}": configuration(smoothing) for smoothing in SMOOTHINGS}
    variants["_legacy"] = configuration(legacy=True)
    for suffix, config in variants.items():
        leaves = [each.clone().requires_grad_() for each in (logits, codes)]
        maps = [
            [
                part.reshape(len(part), *classes.shape[1:3], -1).permute(0, 3, 1, 2)
                for part, classes in zip(
                    leaf.split([each[0].numel() for each in class_targets], dim=1),
                    class_targets,
                    strict=True,
                )
            ]
            for leaf in leaves
        ]
        criterion = DetectionLoss(config)
        total, class_loss, box_loss = criterion(*maps, class_targets, counted, positives)
        total.backward()
        arrays |= {f"total{suffix}": total, f"class{suffix}": class_loss, f"box{suffix}": box_loss}
        arrays |= {
            f"logit_gradient{suffix}": leaves[0].grad,
            f"code_gradient{suffix}": leaves[1].grad,
        }
        _, _, own = criterion(*maps, class_targets, box_targets, positives)
    np.savez(path, **{name: each.detach().numpy() for name, each in arrays.items()})
    if aligned.any():
        print(f"box loss {box_loss:.6f}, and {own:.6f} without the codes that are exactly zero")
    print(
        f"{path.name}: {len(truth.boxes)} pictures, {int((truth.classes >= 0).sum())} boxes, "
        f"{int(positive.sum())} positive anchors, {int(aligned.sum())} of their codes exactly zero",
        flush=True,
    )


class Statistics:
    """The moving statistics as TensorFlow and Keras keep them: of the biased variance.

    PyTorch normalizes by the biased variance too, but averages the unbiased one.
    """

    def __init__(self, network: nn.Module) -> None:
        self.norms = {
            name: norm for name, norm in network.named_modules() if isinstance(norm, nn.BatchNorm2d)
        }
        self.biased = {name: norm.running_var.clone() for name, norm in self.norms.items()}
        for name, norm in self.norms.items():
            assert norm.eps == 1e-3, f"{name} has epsilon {norm.eps}"
            norm.momentum = 0.01  # the paper's decay of 0.99; effdet's backbones have 0.1
            norm.register_forward_pre_hook(self._observer(name))

    def _observer(self, name: str) -> Any:
        def observe(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
            variance = torch.var(inputs[0].detach(), dim=(0, 2, 3), correction=0)
            self.biased[name] = 0.99 * self.biased[name] + 0.01 * variance

        return observe

    def state(self, network: nn.Module) -> dict[str, torch.Tensor]:
        """The network's state with these variances in the place of its own."""
        state = {name: each.clone() for name, each in network.state_dict().items()}
        return {**state, **{f"{name}.running_var": each for name, each in self.biased.items()}}


def trained(
    start: dict[str, torch.Tensor], images: torch.Tensor, truth: Truth, decay: float, precision: Any
) -> Iterator[dict[str, torch.Tensor]]:
    """Of each step: losses, `state/...` after it and `velocity/...`, in float32."""
    network = EfficientDet(configuration(), pretrained_backbone=False)
    network.load_state_dict(start)
    network.to(precision)
    statistics = Statistics(network)
    bench = DetBenchTrain(network).train()
    # timm's groups: what has one dimension, and biases, are not decayed.
    optimizer = torch.optim.SGD(
        param_groups_weight_decay(network, decay), lr=LEARNING_RATE, momentum=MOMENTUM
    )
    target = {
        "bbox": truth.boxes[..., [1, 0, 3, 2]],
        "cls": torch.where(truth.classes >= 0, truth.classes + 1, -1),
    }
    # The loss rounds its input to float32, which would hide whose rounding errors are whose.
    with mock.patch.object(torch.Tensor, "float", lambda tensor: tensor.to(precision)):
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses = bench(images.to(precision), target)
            losses["loss"].backward()
            optimizer.step()
            state = statistics.state(network)
            velocity = {
                f"velocity/{name}": -LEARNING_RATE * optimizer.state[each]["momentum_buffer"]
                for name, each in network.named_parameters()
            }
            arrays = {**losses, **{f"state/{name}": each for name, each in state.items()}}
            yield {
                name: each.detach().to(torch.float32) for name, each in (arrays | velocity).items()
            }


def write_steps(out: Path, generator: torch.Generator) -> None:
    truth = drawn(np.random.default_rng(7), (3, 0, 6, 12))
    shape = (len(truth.boxes), SIZE, SIZE, 3)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    config = configuration()
    mean, std = (255 * torch.tensor(each) for each in IMAGENET)
    images = ((pixels - mean) / std).permute(0, 3, 1, 2)
    network = EfficientDet(config, pretrained_backbone=False)
    randomize(network, images, generator)
    with torch.no_grad():
        # As at the start of a training: hardly anything is an object (RetinaNet, section 4.1).
        network.class_net.predict.conv_pw.weight.mul_(0.1)
        network.class_net.predict.conv_pw.bias.fill_(-4.6)
        network.box_net.predict.conv_pw.weight.mul_(0.1)
        network.box_net.predict.conv_pw.bias.zero_()
    start = network.state_dict()
    common = {"pixels": pixels, "boxes": truth.boxes, "classes": truth.classes}
    common |= {f"state/{name}": each for name, each in start.items()}
    np.savez(out / "steps.npz", **{name: each.numpy() for name, each in common.items()})
    for decay in WEIGHT_DECAYS:
        for precision in (torch.float64, torch.float32):
            bits = str(precision).removeprefix("torch.float")
            if decay == max(WEIGHT_DECAYS) and bits == "32":
                continue
            steps = trained(start, images, truth, decay, precision)
            for number, arrays in enumerate(steps, start=1):
                np.savez(
                    out / f"steps_{decay}_{bits}_{number}.npz",
                    **{name: each.numpy() for name, each in arrays.items()},
                )
                print(
                    f"decay {decay}, float{bits}, step {number}: class loss "
                    f"{arrays['class_loss']:.6f}, box loss {arrays['box_loss']:.6f}",
                    flush=True,
                )


def main(out: Path) -> None:
    """Write `loss_*.npz` and `steps*.npz` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(5)
    rng = np.random.default_rng(5)
    for number, counts in enumerate([(1, 3, 0, 8, 40), (0, 0), (100, 20)]):
        write_losses(out / f"loss_random_{number}.npz", drawn(rng, counts), generator)
    write_losses(out / "loss_hard.npz", hard(), generator)
    write_steps(out, generator)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
