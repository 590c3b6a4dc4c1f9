"""The kinds of device that this machine has: what must be equal everywhere is tested on each."""

from __future__ import annotations

from typing import Final

import torch

CPU: Final = torch.device("cpu")
DEVICES: Final = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
