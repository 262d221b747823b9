"""Processes that torchrun started, joined by torch.distributed. Importing it loads PyTorch.

PyTorch's processes speak to each other without authorisation and without encryption: on private networks alone.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from netdsl.ground.diagnostics import UserError
from netdsl.ground.ranks import Ranks
from netdsl.ground.system.processes import is_living
from netdsl.targets.contract import ModelEnded

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""How long a process waits for another one, PyTorch's own bound: the first one may read data all this time. Where a
process ends the others hear of it at once; this is for machines that are cut off."""
BEGUN, STARTS = "netdsl/begun", "netdsl/starts"  # keys in the launcher's store, which lives as long as the launcher
DYING = 1.0  # seconds: a process that is killed closes its connections before the system calls it dead
SPEAKS_OF_OTHERS = ("gloo", "NCCL", "ProcessGroup", "onnection closed", "onnection reset", "Broken pipe", "imed out")


@dataclass(frozen=True)
class Place:
    """Which process this is, as torchrun's environment tells it: of `count` in all and `local_count` on this machine,
    which speak by the store at `address` and `port`; has_agent_store: it is the launcher's."""

    rank: int
    count: int
    local_rank: int
    local_count: int
    address: str
    port: int
    has_agent_store: bool


def place_in(environment: Mapping[str, str]) -> Place:
    """Where torchrun's environment puts this process. Raises UserError where that is incomplete."""
    try:
        number = {name: int(environment[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")}
        local = int(environment.get("LOCAL_RANK", number["RANK"]))
        local_count = int(environment.get("LOCAL_WORLD_SIZE", number["WORLD_SIZE"]))
        address = environment["MASTER_ADDR"]
    except (KeyError, ValueError) as error:
        text = f"WORLD_SIZE says that there are several processes, but the environment is incomplete: {error}"
        raise UserError(text, help="start them by `torchrun`, or unset WORLD_SIZE") from None
    has_store = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Place(number["RANK"], number["WORLD_SIZE"], local, local_count, address, number["MASTER_PORT"], has_store)


class TorchRanks(Ranks):
    """Processes that torch.distributed joined.

    What is small goes between processors by gloo; tensors on GPUs by NCCL, where each process has a GPU of its own.
    """

    def __init__(self, place: Place) -> None:
        self.place, self.rank, self.count = place, place.rank, place.count
        self._others: list[tuple[str, int]] = []  # host and number of each process, once they know each other
        is_agents = place.has_agent_store
        with heard_of(self):
            self._store = dist.TCPStore(  # type: ignore[attr-defined]  # the stubs do not export it
                place.address, place.port, place.count, not is_agents and place.rank == 0, TIMEOUT, multi_tenant=True
            )
            number = agreed_start(self._store, place.rank, place.count)
            store = c10d.PrefixStore(f"netdsl/{number}", self._store)
            dist.init_process_group(
                _backend(place), store=store, rank=place.rank, world_size=place.count, timeout=TIMEOUT
            )
            mine = socket.gethostname(), os.getpid()
            others = [mine] * self.count
            dist.all_gather_object(others, mine)
        self._others = others

    @property
    def is_first_here(self) -> bool:
        """Whether this is the first process of its machine."""
        return self.place.local_rank == 0

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sum over all processes of each number."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        with heard_of(self):
            dist.all_reduce(sums)
        return [float(number) for number in sums]

    def shared(self, make: Callable[[], T]) -> T:
        """What `make` gives to the first process, for all; what it raises there is raised by all."""
        answer: list[object] = [None, None]
        if self.is_first:
            try:
                answer[0] = make()
            except Exception as error:
                answer[1] = error
        with heard_of(self):
            dist.broadcast_object_list(answer, 0, device=torch.device("cpu"))
        if isinstance(answer[1], Exception):
            raise answer[1]
        return answer[0]  # type: ignore[return-value]  # it is what `make` gave

    def gathered(self, part: np.ndarray, n: int) -> np.ndarray:
        """The rows of all processes, n of them, of which `part` are those that `Ranks.part` gives this one."""
        most = -(-n // self.count)
        mine = torch.zeros((most, *part.shape[1:]), dtype=torch.from_numpy(part).dtype)
        mine[: len(part)] = torch.from_numpy(np.ascontiguousarray(part))
        parts = [torch.empty_like(mine) for _ in range(self.count)]
        with heard_of(self):
            dist.all_gather(parts, mine)
        sizes = [n // self.count + (rank < n % self.count) for rank in range(self.count)]
        whole: np.ndarray = torch.cat([one[:size] for one, size in zip(parts, sizes, strict=True)]).numpy()
        return whole

    def begun(self) -> Path | None:
        """The run that earlier processes of the same launcher began: its store knows, which ends with it."""
        if not self.place.has_agent_store or not self._store.check([BEGUN]):
            return None
        return Path(self._store.get(BEGUN).decode(errors="surrogateescape"))

    def note_begun(self, run: Path) -> None:
        """Lets the launcher remember the run that the first process begins."""
        if self.place.has_agent_store and self.is_first:
            self._store.set(BEGUN, str(run))

    def ended(self) -> str:
        """Which processes of this machine have ended, in words."""
        gone = [rank for rank, other in enumerate(self._others) if rank != self.rank and not is_living(*other)]
        names = f"rank{'s' if len(gone) > 1 else ''} {', '.join(map(str, gone))}"
        return f"{names} of {self.count} {'have' if len(gone) > 1 else 'has'} ended" if gone else ""

    def check(self, device: str, is_sharded: bool) -> None:
        """As in Ranks."""
        own_device(device, self.place, is_sharded)

    def close(self) -> None:
        """Parts from the others: after a good end alone, since it may wait for them."""
        with suppress(RuntimeError):
            if dist.is_initialized():
                dist.destroy_process_group()


def agreed_start(store: c10d.Store, rank: int, count: int) -> int:
    """The number of this start of the processes, counted from 1, on which all of them agree.

    A launcher's store lives longer than its processes: who is started anew must not read there what those before left.
    How often torchrun restarted them does not tell them apart: where one machine's ends, that machine alone counts it.
    So the first process takes a number, the others put names there that nobody had before, and begin once the first
    has read them.
    """
    if rank == 0:
        number = store.add(STARTS, 1)
        names = [store.get(f"netdsl/{number}/here/{other}") for other in range(1, count)]
        store.set(f"netdsl/{number}/all", b" ".join(names).decode())
        return number
    name, number, until = uuid4().hex, 0, time.monotonic() + TIMEOUT.total_seconds()
    while time.monotonic() < until:
        latest = store.add(STARTS, 0)
        if latest > number:
            number = latest
            store.set(f"netdsl/{number}/here/{rank}", name)
        if number and store.check([f"netdsl/{number}/all"]) and name in store.get(f"netdsl/{number}/all").decode():
            return number
        time.sleep(0.02)
    raise ModelEnded("no agreement", f"the first process has not come; this one is rank {rank}")


@contextmanager
def heard_of(ranks: TorchRanks) -> Iterator[None]:
    """While it is open a failure to reach another process is ModelEnded, which names it."""
    try:
        yield
    except ModelEnded:
        raise
    except RuntimeError as error:
        text = str(error)
        if not isinstance(error, dist.DistError) and not any(word in text for word in SPEAKS_OF_OTHERS):
            raise
        until = time.monotonic() + DYING
        while not (why := ranks.ended()) and time.monotonic() < until:
            time.sleep(DYING / 50)
        said = text.strip().splitlines()[0].rpartition("] ")[2][:120]
        why = why or f"another process has ended, or cannot be reached ({said})"
        raise ModelEnded(text, f"{why}; this one is rank {ranks.rank}") from None


def own_device(name: str, place: Place, is_sharded: bool = False) -> str:
    """The device of one process, a GPU of its own where there are any. Raises UserError where they are too few.

    On one GPU several processes speak by gloo, which ends `fully_shard` there by a segmentation fault (PyTorch 2.11).
    """
    gpus, here = torch.cuda.device_count(), place.local_count
    if name.startswith("cuda:") and gpus >= here > 1:
        text = f"`--device {name}` puts {here} processes on one GPU"
        raise UserError(text, help="`--device cuda` gives each of them its own")
    if name.startswith("cuda:") and here > 1 and is_sharded:
        text = f"`--device {name}` puts {here} processes on one GPU, where `--fsdp` cannot part anything"
        raise UserError(text, help="leave out `--fsdp`, or `--device cpu`")
    if name not in ("auto", "cuda") or not gpus:
        return name
    if gpus < here:
        text = f"this machine has {gpus} GPU{'s' if gpus > 1 else ''} for {here} processes"
        raise UserError(text, help=f"`--nproc-per-node={gpus}`, or `--device cpu`")
    return f"cuda:{place.local_rank}"


def _backend(place: Place) -> str:
    """NCCL refuses two processes on one GPU, where gloo serves instead."""
    has_own = torch.cuda.is_available() and torch.cuda.device_count() >= place.local_count
    return "cpu:gloo,cuda:nccl" if has_own and dist.is_nccl_available() else "gloo"
