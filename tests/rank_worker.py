"""What each of several processes does in tests/training/test_ranks.py: `torchrun ... rank_worker.py FOLDER [WHAT...]`.

Comparisons are of what the processes come to together with what one comes to alone; each process writes what it has to
tell as JSON, and a WHAT is a name in CHECKS.
"""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import numpy as np

from netdsl.ground.diagnostics import TrainingFailed, UserError
from netdsl.ground.ranks import ALONE, SaidElsewhere
from netdsl.pipeline import compile_text
from netdsl.targets.contract import Device, Workers
from netdsl.targets.torch.ranks import TorchRanks, place_in
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import Feed
from netdsl.training.loop.learning import Learning
from netdsl.training.loop.session import joined, started
from netdsl.training.loop.shares import parts_of
from netdsl.training.loop.together import together
from netdsl.training.loop.watch import Interrupted, Watch
from netdsl.training.runs.engine import Engine

LIMIT = 177  # samples: in batches of 32 the last one has 17, 9 + 8 for two processes
BODIES = {
    "plain": "conv 4 k3 -> relu -> pool 2\nflatten -> linear 10",
    "bn": "conv 4 k3 nobias -> bn -> relu -> pool 2\nflatten -> linear 16 -> bn -> relu -> linear 10",
    "dropout": "conv 4 k3 -> relu -> dropout2d 0.2 -> pool 2\nflatten -> linear 16 -> dropout 0.4 -> linear 10",
}
CASES = {
    "plain": ("plain", "opt adam"),
    "bn": ("bn", "opt sgd lr=0.05 momentum=0.9"),
    "dropout": ("dropout", "clip 0.5"),
    "augmented": ("plain", "augment shift=2 rotate=10 cutout=4"),
    "mixed": ("plain", "augment shift=1 mixup=0.4"),
    "weighted": ("plain", "loss ce weights=(1,2,3,4,5,6,7,8,9,10) smooth=0.1"),
    "accumulated": ("dropout", "batch 8, accumulate 3, clip 0.5, opt adamw decay=matrices"),
    "weighed and accumulated": ("plain", "batch 8, accumulate 3, loss ce weights=(1,2,3,4,5,6,7,8,9,10)"),
    "too small": ("bn", "batch 3"),  # too few for two batch norms: each process computes all of it
}
SPEC = """input 1x28x28
pool 2 -> conv 4 k3 nobias -> bn -> relu -> dropout2d 0.2 -> pool 2
flatten -> linear 10
train { data mnist-mini, val 0.3, epochs 4, batch 16, schedule onecycle, augment shift=1 rotate=5, ema 0.9 }
"""
"""The run that is killed, interrupted and resumed; with 200 samples an epoch of it has 9 steps."""


def net_of(case):
    body, train = CASES[case]
    batch = "" if "batch" in train else "batch 32, "
    text = f"input 1x28x28\npool 2 -> {BODIES[body]}\ntrain {{ data mnist-mini, val 0, {batch}{train} }}"
    return compile_text(text, case)


def learned(net, dtype, ranks, device, steps):
    """Losses and how many samples were told of, params, buffers, the optimizer's arrays, and logits of test samples."""
    data, engine = load_dataset("mnist-mini", None, LIMIT), Engine("torch", 0, device=device)
    feed = Feed(data, net.recipe, parts_of(ranks, net, engine))
    model = net.model("torch", seed=1, dtype=dtype, workers=Workers(1, "threads", device, ranks))
    losses, learning = [], Learning(net, model, ranks)
    for epoch in range(1, 1 + -(-steps // feed.steps)):
        for batch in feed.epoch(epoch):
            model.rng = np.random.default_rng([3, epoch, batch.number])
            made, (told,) = learning.learn(batch, 0.01, lambda logits: [len(logits)])
            if not batch.is_last:
                continue
            is_whole = batch.part == slice(0, len(batch.rows))
            assert told == batch.whole * (ranks.count if is_whole else 1)
            losses.append(made.loss)
            if len(losses) == steps:
                break
    arrays = {**model.params, **model.buffers, **model.state(tuple(net.recipe.state_names))}
    arrays = {name: np.array(array) for name, array in arrays.items() if name != "scale"}
    return {"losses": np.array(losses), "logits": model.logits(data.normalized(data.x_test[:33])), **arrays}


def apart(case, ranks, dtype="float64", steps=10, **device):
    """How far what the processes come to together is from what one comes to alone, at most, of numbers of about 1."""
    ours = learned(net_of(case), dtype, ranks, Device("cpu", **device), steps)
    theirs = learned(net_of(case), dtype, ALONE, Device("cpu", device.get("amp")), steps)
    assert list(ours) == list(theirs)
    return max(float(np.abs(ours[name] - theirs[name]).max() / max(1, np.abs(theirs[name]).max())) for name in theirs)


def equal(ranks, folder):
    """float64, which shows that the same is computed."""
    return {case: apart(case, ranks, steps=12, is_synced=case == "bn") for case in CASES}


def long(ranks, folder):
    """50 steps, in float32 too."""
    types = ("float64", "float32")
    return {f"{case} {t}": apart(case, ranks, t, 50, is_synced=case == "bn") for case in CASES for t in types}


def shards(ranks, folder):
    from netdsl.targets.torch import sharded

    told = {}
    for sharded.UNIT in (2**18, 1):
        for case in ("plain", "bn", "dropout", "accumulated"):
            told[f"{case}, units of {sharded.UNIT}"] = apart(case, ranks, is_sharded=True, is_synced=case == "bn")
    return told


@contextmanager
def session(ranks, out, **device):
    net = compile_text(SPEC, "tiny")
    engine = Engine("torch", 0, threads=1, device=Device("cpu", **device))
    with together(
        ranks,
        lambda: started(net, engine, limit=200, out=out, ranks=ranks),
        lambda path, is_resumed: joined(path, is_resumed, None, ranks),
    ) as opened:
        yield opened


def runs(ranks, folder):
    """A run from beginning to end, and one that one process alone wants to stop."""
    with session(ranks, folder / "whole") as opened:
        whole = opened.train()
    steps = []
    last = ranks.count - 1
    watch = Watch(steps.append, is_stopped=lambda: ranks.rank == last and len(steps) > 12, save_every=2)
    stopped = ""
    try:
        with session(ranks, folder / "stopped", is_synced=True, is_sharded=True) as opened:
            opened.train(watch)
    except Interrupted as interrupted:
        stopped = str(interrupted)
    losses = [row.train_loss for row in whole.history]
    return {"test": whole.scores.values, "losses": losses, "stopped": stopped}


def diverged(ranks, folder):
    """What each process meets where the loss becomes infinite."""
    net = compile_text(SPEC.replace("epochs 4", "epochs 4, opt sgd lr=1e30"), "tiny")
    engine = Engine("torch", 0, threads=1, device=Device("cpu"))
    try:
        with together(
            ranks,
            lambda: started(net, engine, limit=200, out=folder / "diverged", ranks=ranks),
            lambda path, is_resumed: joined(path, is_resumed, None, ranks),
        ) as opened:
            opened.train()
        return "it learned"
    except (TrainingFailed, SaidElsewhere) as error:
        return f"{type(error).__name__}: {error}"


def refused(ranks, folder):
    """What each process meets where one of them cannot begin: the first, then the last."""
    met = []
    for bad in (0, ranks.count - 1):

        @contextmanager
        def opens(*_, bad=bad):
            if ranks.rank == bad:
                raise UserError(f"rank {bad} cannot begin")
            with session(ALONE, folder / f"bad{bad}{ranks.rank}") as opened:
                yield opened

        try:
            with together(ranks, opens, opens):
                met.append("began")
        except (UserError, SaidElsewhere) as error:
            met.append(f"{type(error).__name__} {error}")
    return met


def compiled(ranks, folder):
    return max(apart(case, ranks, steps=4, is_compiled=True, is_synced=case == "bn") for case in ("dropout", "bn"))


def sixteen(ranks, folder):
    """In 16 bits, whose sums over a batch are rounded at other places than those over its parts."""
    ways = [
        {"amp": "bfloat16"},
        {"amp": "bfloat16", "is_synced": True},
        {"amp": "float16"},
        {"amp": "float16", "is_sharded": True},
    ]
    return [apart("bn" if "is_synced" in way else "plain", ranks, "float32", 4, **way) for way in ways]


CHECKS = {one.__name__: one for one in (compiled, diverged, equal, long, refused, runs, shards, sixteen)}


def main(folder, *names):
    ranks = TorchRanks(place_in(os.environ))
    told = {name: CHECKS[name](ranks, Path(folder)) for name in names}
    (Path(folder) / f"told{ranks.rank}.json").write_text(json.dumps(told))
    ranks.close()
    sys.stdout.flush()
    os._exit(0)  # PyTorch's threads now and then abort a process that is done, when Python takes its modules down


if __name__ == "__main__":
    main(*sys.argv[1:])
