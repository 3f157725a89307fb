"""Training throughput beside effdet (PyTorch) on one device: python train_throughput.py [...].

Both sides train EfficientDet-D0 at the same size and batch in the same precision, in turns, each in
a process of its own: pictures come as uint8 from host memory, are normalized on the device, and a
step is the forward and backward pass, clipping, SGD with momentum and the average of the weights.
effdet's side has channels_last, autocast and torch.compile, and gets its anchors' labels ready
made, as its own loader does; ours assigns them within the step. `--alone MODEL:SIZE:BATCH` then
times further networks of ours.

    python tests/zoo/train_throughput.py --batch 64 --alone efficientdet-d4:1024:8
    python tests/zoo/train_throughput.py --size 128 --batch 2 --steps 2 --precision float32

Needs JAX and Keras for ours, PyTorch and effdet for the other side, which may live in another
environment (`--effdet-python`). Not a test that pytest collects.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLASSES = 90
BOXES = 20
WARMUP = 5
MOMENTUM = 0.9
CLIP = 10.0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> int:
    """Time what the command line names; 1 if a side failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", default="efficientdet-d0")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="timed, of each turn")
    parser.add_argument("--turns", type=int, default=2, help="of each side")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), default="bfloat16"
    )
    parser.add_argument("--alone", nargs="*", default=[], metavar="MODEL:SIZE:BATCH")
    parser.add_argument("--effdet-python", default=sys.executable, metavar="FILE")
    parser.add_argument("--eager", action="store_true", help="effdet without torch.compile")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    wanted = parser.parse_args()
    if wanted.side:
        wanted.out.write_text(json.dumps(SIDES[wanted.side](wanted)), encoding="utf-8")
        return 0
    rows = []
    for _ in range(wanted.turns):
        for side in SIDES:
            rows.append(run(side, wanted))
            show(rows[-1])
    for text in wanted.alone:
        model, size, batch = text.split(":")
        other = argparse.Namespace(**{**vars(wanted), "model": model})
        other.size, other.batch = int(size), int(batch)
        rows.append(run("edgedet", other))
        show(rows[-1])
    best = {
        side: max(
            (row["images_per_second"] for row in rows[: 2 * wanted.turns] if row["side"] == side),
            default=0.0,
        )
        for side in SIDES
    }
    if all(best.values()):
        print(f"edgedet / effdet, best turns: {best['edgedet'] / best['effdet']:.2f}")
    if wanted.json:
        wanted.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(any("error" in row for row in rows))


def run(side: str, wanted: argparse.Namespace) -> dict[str, Any]:
    """One turn of a side: its figures, or `error`."""
    python = wanted.effdet_python if side == "effdet" else sys.executable
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "figures.json")
        words = [
            *("--side", side, "--out", str(out), "--model", wanted.model),
            *("--size", str(wanted.size), "--batch", str(wanted.batch)),
            *("--steps", str(wanted.steps), "--precision", wanted.precision),
            *(["--eager"] if wanted.eager else []),
        ]
        environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [python, __file__, *words], env=environment, capture_output=True, text=True, check=False
        )
        row = {"side": side, "model": wanted.model, "size": wanted.size, "batch": wanted.batch}
        if done.returncode:
            told = done.stderr.strip() or f"exit status {done.returncode}"
            return {**row, "error": told[-2000:], "images_per_second": 0.0}
        figures: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return {**row, **figures}


def show(row: dict[str, Any]) -> None:
    """One line, or the error."""
    name = f"{row['side']:8} {row['model']} {row['size']} px, batch {row['batch']}:"
    if "error" in row:
        print(f"{name} failed\n{row['error']}", flush=True)
        return
    used = "-" if row["utilization"] is None else f"{row['utilization']:.0f}%"
    memory = "-" if row["memory"] is None else f"{row['memory'] / 2**30:.1f} GiB"
    print(
        f"{name} {row['images_per_second']:8.1f} images/s, "
        f"step {1e3 * row['step_seconds']:.1f} ms, device busy {used}, "
        f"memory {memory}, first step {row['first_seconds']:.0f} s, "
        f"loss {row['loss']:.3f} ({row['device']})",
        flush=True,
    )


def timed(step: Callable[[], Any], wait: Callable[[Any], float], steps: int) -> dict[str, Any]:
    """Seconds of the steps: each waits for the one before, as a trainer that looks at losses does.

    Args:
        step: starts a step and gives something to wait for.
        wait: waits for it and gives its loss.
        steps: to time, after `WARMUP` others.
    """
    began = time.perf_counter()
    loss = wait(step())
    first = time.perf_counter() - began
    for _ in range(WARMUP - 1):
        loss = wait(step())
    with Utilization() as busy:
        ends = [time.perf_counter()]
        before = step()
        for _ in range(steps):
            after = step()
            loss = wait(before)
            ends.append(time.perf_counter())
            before = after
        wait(before)
    seconds = statistics.median(b - a for a, b in itertools.pairwise(ends))
    return {
        "first_seconds": first,
        "step_seconds": seconds,
        "mean_step_seconds": (ends[-1] - ends[0]) / steps,
        "utilization": busy.percent,
        "loss": loss,
    }


class Utilization:
    """Samples how much of the time the first GPU is busy, as nvidia-smi tells."""

    def __init__(self) -> None:
        self.percent: float | None = None
        self._stop = threading.Event()
        self._samples: list[float] = []
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Utilization:
        if shutil.which("nvidia-smi"):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        # The first sample still sees what was before.
        if kept := self._samples[1:] or self._samples:
            self.percent = statistics.mean(kept)

    def _sample(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._stop.wait(0.2):
            told = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            if told.split():
                self._samples.append(float(told.split()[0]))


def pictures(size: int, batch: int) -> tuple[Any, Any, Any]:
    """Pictures uint8 [B, size, size, 3], boxes x0, y0, x1, y1 [B, M, 4] and classes [B, M]."""
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
    corner = rng.random((batch, BOXES, 2)) * 0.8 * size
    boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.2, corner.shape) * size], axis=-1)
    classes = rng.integers(0, CLASSES, (batch, BOXES))
    return images, boxes.astype(np.float32), classes.astype(np.int32)


def edgedet(wanted: argparse.Namespace) -> dict[str, Any]:
    """Figures of our side."""
    import jax
    import keras

    from edgedet.models import preset_spec
    from edgedet.training.options import TrainingOptions
    from edgedet.training.stepping import Stepper
    from edgedet.training.trainer import Execution, prepared

    keras.utils.set_random_seed(0)
    spec = preset_spec(wanted.model, [str(index) for index in range(CLASSES)], size=wanted.size)
    options = TrainingOptions(
        optimizer="sgd", momentum=MOMENTUM, clip_norm=CLIP, batch_size=wanted.batch, drop_rate=0.0
    )
    execution = Execution(precision=wanted.precision)
    stepper = Stepper(prepared(spec, options, execution, 1000, batch_size=wanted.batch))
    images, boxes, classes = pictures(wanted.size, wanted.batch)
    found = timed(
        lambda: stepper.step(images, {"boxes": boxes, "classes": classes})["detection_loss"],
        float,
        wanted.steps,
    )
    counted = jax.local_devices()[0].memory_stats() or {}
    return {
        **found,
        "images_per_second": wanted.batch / found["step_seconds"],
        "memory": counted.get("peak_bytes_in_use"),
        "device": jax.local_devices()[0].device_kind,
        "versions": {"jax": jax.__version__, "keras": keras.__version__},
    }


def effdet(wanted: argparse.Namespace) -> dict[str, Any]:
    """Figures of effdet's side."""
    import effdet as peer
    import torch
    from effdet.anchors import AnchorLabeler, Anchors
    from effdet.loss import DetectionLoss
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    config = peer.get_efficientdet_config(f"tf_{wanted.model.replace('-', '_')}")
    config.image_size = (wanted.size, wanted.size)
    config.num_classes = CLASSES
    config.backbone_args = {**config.backbone_args, "drop_path_rate": 0.0}
    network = peer.EfficientDet(config, pretrained_backbone=False)
    network = network.to(device, memory_format=torch.channels_last).train()
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9998), use_buffers=True)
    loss_of = DetectionLoss(config)
    images, boxes, classes = pictures(wanted.size, wanted.batch)
    labeler = AnchorLabeler(Anchors.from_config(config), CLASSES, match_threshold=0.5)
    targets = labeler.batch_label_anchors(
        list(torch.from_numpy(boxes)[..., [1, 0, 3, 2]]), list(torch.from_numpy(classes) + 1)
    )
    labels, codes, positives = (
        [part.to(device) for part in each] if isinstance(each, (list, tuple)) else each.to(device)
        for each in targets
    )
    host = torch.from_numpy(images)
    host = host.pin_memory() if on_gpu else host
    mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(STD, device=device).view(1, 3, 1, 1) * 255
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=MOMENTUM, weight_decay=1e-4)
    low = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(wanted.precision)
    scaler = torch.amp.GradScaler(device.type, enabled=low is torch.float16)
    torch.set_float32_matmul_precision("high")
    forward = network if wanted.eager else torch.compile(network)

    def step() -> Any:
        with torch.autocast(device.type, dtype=low, enabled=low is not None):
            uploaded = host.to(device, non_blocking=True).permute(0, 3, 1, 2)
            uploaded = uploaded.contiguous(memory_format=torch.channels_last)
            class_maps, box_maps = forward((uploaded.float() - mean) / std)
            loss = loss_of(class_maps, box_maps, labels, codes, positives)[0]
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        scaler.step(optimizer)
        scaler.update()
        averaged.update_parameters(network)
        return loss.detach()

    found = timed(step, float, wanted.steps)
    return {
        **found,
        "images_per_second": wanted.batch / found["step_seconds"],
        "memory": torch.cuda.max_memory_allocated() if on_gpu else None,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "versions": {"torch": torch.__version__, "effdet": importlib.metadata.version("effdet")},
    }


SIDES = {"edgedet": edgedet, "effdet": effdet}


if __name__ == "__main__":
    sys.exit(main())
