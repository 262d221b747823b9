"""Where PyTorch computes: the device that a user asks for, and how maps lie there. Importing it loads PyTorch."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, ExitStack
from functools import cache

import torch

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import UserError, plain
from netdsl.targets.contract import Device

AMP = {"bfloat16": torch.bfloat16, "float16": torch.float16}
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


def shown(device: torch.device) -> str:
    """`2.13.0 on cpu`, `2.13.0 on cuda:0 (NVIDIA H200)`: the version of PyTorch, and the device."""
    gpu = f" ({plain(torch.cuda.get_device_name(device))})" if device.type == "cuda" else ""
    return f"{torch.__version__.partition('+')[0]} on {device}{gpu}"


def memory_format(device: Device, sample: Tensor) -> torch.memory_format:
    """How maps like the sample lie in memory. Raises UserError for channels that cannot stand last."""
    if not device.is_channels_last:
        return torch.contiguous_format
    if not sample.is_map or sample.axes not in FORMATS:
        raise UserError(
            f"`--channels-last` is for images and volumes, and the input is {sample.show()}", help="leave it out"
        )
    return FORMATS[sample.axes]


def autocast(device: torch.device, how: Device) -> AbstractContextManager[object]:
    """While it is open layers compute in 16 bits where that does little harm, if `how` says so."""
    return torch.autocast(device.type, AMP.get(how.amp or ""), enabled=how.amp is not None)


def settings(device: torch.device, threads: int | None, is_exact: bool) -> ExitStack:
    """Settings of the whole process, until it is closed: so many threads on the processor (None: as it is), and on
    NVIDIA's GPUs cuDNN's algorithms that give the same bits each time.

    is_exact: convolutions multiply in float32, not in TensorFloat-32 with its 10 bits, which is PyTorch's default.
    """
    kept = ExitStack()
    if threads is not None:
        kept.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(threads)
    if device.type == "cuda":
        kept.enter_context(exact_cudnn(is_exact))
    return kept


def exact_cudnn(is_exact: bool) -> AbstractContextManager[None]:
    """cuDNN without algorithms chosen by the clock or whose sums have no order; is_exact: as `settings` says."""
    made: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=not is_exact
    )
    return made


@cache
def check_compiler(device: torch.device) -> None:
    """Raises UserError where torch.compile cannot make anything for the device, as without a C++ compiler."""
    try:
        with warnings.catch_warnings(action="ignore"):  # its own modules use what is going to leave it
            torch.compile(torch.sin)(torch.ones(2, device=device))
    except Exception as error:  # which one depends on what is missing
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"torch.compile cannot compile for `{device}` here: {plain(said)[:200]}",
            help="leave `--compile` out; for the processor it needs a C++ compiler, as `apt install g++` brings it",
        ) from None
