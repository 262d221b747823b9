"""Where PyTorch computes: the device that a user asks for, and how maps lie there. Importing it loads PyTorch."""

from __future__ import annotations

import torch

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import UserError
from netdsl.targets.contract import Device

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}  # by axes of space; for signals PyTorch has none


def chosen_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first GPU, else Apple's, else the processor. Raises UserError."""
    there = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    there += [torch.device("mps")] if torch.backends.mps.is_available() else []
    there.append(torch.device("cpu"))
    if name == "auto":
        return there[0]
    wanted = [device for device in there if name in (device.type, str(device))]
    if not wanted:
        text = f"PyTorch {torch.__version__} has no device `{name}` here"
        raise UserError(text, help=f"it has {', '.join(f'`{device}`' for device in there)}")
    return wanted[0]


def memory_format(device: Device, sample: Tensor) -> torch.memory_format:
    """How maps like the sample lie in memory. Raises UserError for channels that cannot stand last."""
    if not device.is_channels_last:
        return torch.contiguous_format
    if not sample.is_map or sample.axes not in FORMATS:
        raise UserError(
            f"`--channels-last` is for images and volumes, and the input is {sample.show()}", help="leave it out"
        )
    return FORMATS[sample.axes]
