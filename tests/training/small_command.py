"""The real command with the smallest network: compiling M0 would take most of a test's time."""

from __future__ import annotations

import sys

from small_network import network  # beside this script

import edgedet.models.saving
import edgedet.training.trainer
from edgedet.cli import main

if __name__ == "__main__":
    edgedet.models.saving.build = edgedet.training.trainer.build = network
    main(sys.argv[1:])
