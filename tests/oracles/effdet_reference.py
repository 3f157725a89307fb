"""Random EfficientDets of effdet (PyTorch): their weights and what they answer.

Run in an environment of its own (docs/oracles.md): python effdet_reference.py OUT MODEL:SIZE ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from effdet import EfficientDet, get_efficientdet_config
from effdet.anchors import Anchors, decode_box_outputs
from safetensors.torch import save_file
from torch import nn


def randomize(network: nn.Module, images: torch.Tensor, generator: torch.Generator) -> None:
    """Give every weight and every moving statistic a value of its own.

    Statistics lie around those of the maps that pass through, in one pass from the input on: the
    scale stays healthy through all layers. What else is chosen keeps rounding errors from growing
    with the depth, as in trained networks: small residuals, activations mostly above zero.
    """

    def normal(tensor: torch.Tensor, mean: float, deviation: float) -> None:
        tensor.copy_(mean + deviation * torch.randn(tensor.shape, generator=generator))

    def observe(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        var, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        normal(noise := torch.empty_like(mean), 0.0, 0.2)
        norm.running_mean.copy_(mean + noise * var.sqrt())
        norm.running_var.copy_((var + 0.1 * var.mean()) * torch.exp(noise))

    network.eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "edge_weights" in name:
                normal(parameter, 0.7, 0.4)
                parameter[-1] *= -0.5  # the fusion cuts off what is below zero
            elif name.endswith("bias"):
                normal(parameter, 0.4, 0.4)
            elif parameter.ndim > 1:
                normal(parameter, 0.0, parameter[0].numel() ** -0.5)
        observers = []
        for name, norm in network.named_modules():
            if isinstance(norm, nn.BatchNorm2d):
                residual = name.startswith("backbone.blocks") and name.endswith("bn3")
                normal(norm.weight, 0.4 if residual else 0.8, 0.1)
                observers.append(norm.register_forward_pre_hook(observe))
        network(images)
        for observer in observers:
            observer.remove()


def main(out: Path, model: str, size: int) -> None:
    """Write `effdet-MODEL.safetensors` and `effdet-MODEL.npz` into `out`."""
    generator = torch.Generator().manual_seed(sum(map(ord, model)))
    config = get_efficientdet_config(f"tf_efficientdet_{model}")
    config.image_size = (size, size)
    config.aspect_ratios = [1.0, 2.0, 0.5]  # it rounds the sides of these to one digit
    config.backbone_args = {**config.backbone_args, "drop_path_rate": 0.0}
    network = EfficientDet(config, pretrained_backbone=False)
    images = torch.randn(2, 3, size, size, generator=generator)
    randomize(network, images, generator)

    image = images[:1]
    with torch.no_grad():
        classes, boxes = network(image)
        flat = torch.cat([each.permute(0, 2, 3, 1).reshape(-1, 4) for each in boxes])
        anchors = Anchors.from_config(config).boxes
        decoded = decode_box_outputs(flat, anchors, output_xyxy=True)
    arrays = {"image": image.permute(0, 2, 3, 1), "decoded": decoded}
    for head, maps in (("class", classes), ("box", boxes)):
        for level, each in enumerate(maps, start=config.min_level):
            arrays[f"{head}_{level}"] = each.permute(0, 2, 3, 1)
    save_file(network.state_dict(), out / f"effdet-{model}.safetensors")
    np.savez(out / f"effdet-{model}.npz", **{name: each.numpy() for name, each in arrays.items()})
    count = sum(each.numel() for each in network.parameters())
    print(f"effdet {model} at {size}: {count} parameters", flush=True)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for request in sys.argv[2:]:
        name, _, side = request.partition(":")
        main(place, name, int(side))
