"""Several processes that torchrun starts share each batch, and come to what one process comes to.

Starting them takes seconds, so that one start (tests/rank_worker.py) serves many tests. `pytest
tests/training/test_ranks.py --lost 20 -s` kills one of them so often and prints what was counted.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("torch")

from rank_worker import CASES, SPEC
from safetensors.numpy import load_file

from netdsl.cli import run as netdsl
from netdsl.cli.stopping import stop_on_signals
from netdsl.cli.train import command as train
from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import UserError
from netdsl.ground.ranks import ALONE, Ranks
from netdsl.pipeline import compile_text
from netdsl.targets.contract import Device, ModelEnded
from netdsl.targets.torch.ranks import STARTS, Place, agreed_start, heard_of, own_device, place_in
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import Feed
from netdsl.training.loop.session import reopened, resumed, started
from netdsl.training.loop.shares import notes_on_ranks, parts_of
from netdsl.training.runs.checkpoint import checkpoint_path
from netdsl.training.runs.engine import Engine, changed_engine

WORKER = Path(__file__).parents[1] / "rank_worker.py"
LINE = ("--backend", "torch", "--device", "cpu", "--threads", "1", "--no-plots", "--limit", "200", "--save-every", "1")
SECONDS = 240  # a start takes 10 where nothing else runs


class Some(Ranks):
    """One of several processes that cannot speak to each other."""

    def __init__(self, rank, count):
        self.rank, self.count = rank, count


def launched(folder, count, *command, restarts=0, more=()):
    """torchrun with so many processes of a command, in a session of its own; what they say goes to `folder`/said."""
    options = (f"--nproc-per-node={count}", f"--max-restarts={restarts}", "--monitor-interval=0.1", *more)
    paths = os.pathsep.join(str(path) for path in (WORKER.parent, WORKER.parents[1]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would inherit: ignore it
    with open(folder / "said", "a") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *options, *map(str, command)],
            cwd=folder,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    signal.signal(signal.SIGINT, kept)
    return process


@contextmanager
def launching(folder, count, *command, **more):
    """The like; whatever happens, all of its processes have ended afterwards."""
    process = launched(folder, count, *command, **more)
    try:
        yield process
    finally:
        if process.poll() is None:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.kill()
            process.wait()


def ended(folder, count, *command, **more):
    """The exit code of torchrun, and what its processes said."""
    with launching(folder, count, *command, **more) as process:
        code = process.wait(SECONDS)
    return code, (folder / "said").read_text()


def trained(folder, count, *options, **more):
    return ended(folder, count, "-m", "netdsl", "train", *options, *LINE, **more)


def told_by(folder, count, *names):
    """What each of so many processes tells of these checks of the worker."""
    code, said = ended(folder, count, WORKER, folder, *names)
    assert code == 0, said
    return [json.loads((folder / f"told{rank}.json").read_text()) for rank in range(count)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """-> the folder of two processes, and what each of them told."""
    folder = tmp_path_factory.mktemp("two")
    return folder, told_by(folder, 2, "equal", "shards", "refused", "diverged", "runs")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of SPEC that one process trains."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    net, engine = compile_text(SPEC, "tiny"), Engine("torch", 0, threads=1, device=Device("cpu"))
    with started(net, engine, limit=200, out=folder) as session:
        session.train()
    return folder


# ---------------------------------------------------------------------------------------------- which part is whose


@pytest.mark.parametrize("n, count, sizes", [(7, 3, [3, 2, 2]), (8, 4, [2] * 4), (2, 3, [1, 1, 0])])
def test_parts_stand_in_a_row_and_the_first_ones_are_larger_by_one(n, count, sizes):
    parts = [np.arange(n)[Some(rank, count).part(n)] for rank in range(count)]
    assert [len(part) for part in parts] == sizes
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(n))


@pytest.mark.parametrize(
    "text, n, is_shared",
    [
        ("input 1x28x28\nflatten -> linear 10", 2, True),
        ("input 1x28x28\nflatten -> linear 10", 1, False),
        ("input 1x28x28\nflatten -> linear 4 -> bn -> linear 10", 3, False),
        ("input 1x28x28\nflatten -> linear 4 -> bn -> linear 10", 4, True),
        ("input 1x28x28\nconv 2 k3 -> bn -> flatten -> linear 10", 3, True),  # a map has many values of a channel
    ],
)
def test_a_batch_too_small_for_all_is_computed_whole_by_each(text, n, is_shared):
    net, engine = compile_text(text, "net"), Engine("torch", 0)
    part = parts_of(Some(1, 2), net, engine)(n)
    assert part == (slice(-(-n // 2), n) if is_shared else slice(0, n))
    synced = changed_engine(engine, {"is_synced": True})
    assert parts_of(Some(1, 2), net, synced)(n) == (slice(-(-n // 2), n) if n > 1 else slice(0, n))


@pytest.mark.parametrize("augment", [{}, {"shift": 2, "rotate": 10}, {"shift": 1, "mixup": 0.4}])
def test_a_process_makes_its_part_of_the_very_batch(augment):
    data = load_dataset("mnist-mini", None, 60)
    recipe = Recipe(batch=16, val=0.2, augment=augment)
    whole = Feed(data, recipe)
    parts = [Feed(data, recipe, Some(rank, 3).part) for rank in range(3)]
    for batch, *shares in zip(whole.epoch(2), *(feed.epoch(2) for feed in parts), strict=True):
        np.testing.assert_array_equal(np.concatenate([share.x for share in shares]), batch.x)
        np.testing.assert_array_equal(np.concatenate([share.y for share in shares]), batch.y)
        for share in shares:
            np.testing.assert_array_equal(share.rows, batch.rows)
            np.testing.assert_array_equal(share.x, batch.x[share.part])


# ---------------------------------------------------------------------------------------------- what they compute


@pytest.mark.parametrize("case", CASES)
def test_two_processes_compute_what_one_does(two, case):
    _, told = two
    assert all(one["equal"][case] < 1e-12 for one in told)  # float64, whose sums have another order


def test_params_that_are_divided_learn_the_same(two):
    _, told = two
    for one in told:
        assert len(one["shards"]) == 8
        assert all(difference < 1e-12 for difference in one["shards"].values())


def test_all_processes_have_the_same_scores(two):
    _, (first, second) = two
    assert first["runs"] == second["runs"]
    assert len(first["runs"]["losses"]) == 4


def test_where_one_cannot_begin_none_does(two):
    folder, told = two
    assert [one["refused"] for one in told] == [
        ["UserError rank 0 cannot begin", "SaidElsewhere 2"],
        ["SaidElsewhere 2", "UserError rank 1 cannot begin"],
    ]
    assert not list(folder.glob("bad*"))


def test_a_loss_that_is_not_finite_is_told_by_the_first_process_alone(two):
    folder, (first, second) = two
    assert first["diverged"].startswith("TrainingFailed: training failed ") and "finite" in first["diverged"]
    assert second["diverged"] == "SaidElsewhere: 3"
    assert len(json.loads((folder / "diverged" / "failure.json").read_text())["samples"]) > 1


def test_where_one_wants_to_stop_all_do_at_the_same_step(two):
    folder, told = two
    # the last process wished it after 13 steps and one epoch of 9, which travels with the step after that
    assert [one["runs"]["stopped"] for one in told] == ["stopped in epoch 2 after step 4 of 9"] * 2
    assert json.loads((folder / "stopped" / "env.json").read_text())["processes"] == 2


@pytest.mark.parametrize("backend", ["torch", "numpy", "interp"])
def test_one_process_goes_on_with_what_two_began(two, alone, tmp_path, backend):
    folder, _ = two
    run, notes = shutil.copytree(folder / "stopped", tmp_path / "run"), []
    change = lambda engine: changed_engine(engine, {"backend": backend, "threads": 1})  # noqa: E731
    with resumed(run, on_note=notes.append, change=change) as session:
        session.train()
    assert any("the number of processes was 2, is 1" in note for note in notes)
    ours, theirs = load_file(run / "weights.safetensors"), load_file(alone / "weights.safetensors")
    for name, array in theirs.items():  # float32, 36 steps, in which the order of sums differs
        np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-4, err_msg=name)


# ---------------------------------------------------------------------------------------------- when one ends


def workers(process):
    """rank -> process, of those that torchrun has started and that have not ended."""
    there = {}
    for child in psutil.Process(process.pid).children():
        try:
            if "RANK" in (environment := child.environ()) and child.status() != psutil.STATUS_ZOMBIE:
                there[int(environment["RANK"])] = child
        except psutil.Error:
            continue
    return there


def started_again(process, count, before):
    """The processes that torchrun started after those of `before` had ended; none where it has ended itself."""
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until:
        there = workers(process)
        if len(there) == count and not {one.pid for one in there.values()} & before:
            return there
        time.sleep(0.05)
    assert process.poll() is not None, "torchrun started no processes"
    return {}


def bytes_of(run):
    files = [checkpoint_path(run, which) for which in ("last", "best")] + [run / "weights.safetensors"]
    return [file.read_bytes() for file in files]


def killed(folder, count, kills, rng, most=1.0):
    """A run of `count` processes, of which one is killed at random times -> the run, and how often it was training."""
    (folder / "tiny.net").write_text(SPEC)
    run, hits, while_training, before = folder / "run", 0, 0, set()
    command = ("-m", "netdsl", "train", "tiny.net", "--out", "run", *LINE)
    with launching(folder, count, *command, restarts=kills) as process:
        while hits < kills and (there := started_again(process, count, before)):
            before = {one.pid for one in there.values()}
            if hits % 3 < 2:  # while it trains; the third time perhaps before it has read anything
                wait_for_newer(process, checkpoint_path(run, "last"), time.time())
            time.sleep(rng.uniform(0, most))
            victim = there[rng.randrange(count)]
            if process.poll() is None and victim.is_running():
                hits += 1
                while_training += checkpoint_path(run, "last").exists() and not (run / "result.json").exists()
                victim.kill()
        assert process.wait(SECONDS) == 0, (folder / "said").read_text()
    return run, hits, while_training


def wait_for_newer(process, path, then):
    """Waits for a file that was written after that time, or for the end of torchrun."""
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until:
        if path.exists() and path.stat().st_mtime > then:
            return
        time.sleep(0.02)


def test_a_process_that_is_killed_ends_all_in_words_and_torchrun_goes_on_with_the_run(two, tmp_path, lost):
    whole, _ = two
    rng, hits, while_training, runs = random.Random(3), 0, 0, 0
    while hits < lost:
        folder = tmp_path / str(runs)
        folder.mkdir()
        run, more, training = killed(folder, 2, lost - hits, rng)
        hits, while_training, runs = hits + more, while_training + training, runs + 1
        said = (folder / "said").read_text()
        assert "Traceback" not in said, said
        assert not training or "the processes were started anew: they go on with `run`" in said, said
        assert bytes_of(run) == bytes_of(whole / "whole")
        assert json.loads((run / "result.json").read_text())["run"] == "run"
    print(f"\n{hits} kills, {while_training} of them while it trained; {runs} runs to their end")


@pytest.mark.slow("Ctrl-C of two processes that train")
def test_ctrl_c_stops_all_processes_at_one_step_and_the_run_goes_on(two, tmp_path):
    whole, _ = two
    (tmp_path / "tiny.net").write_text(SPEC)
    command = ("-m", "netdsl", "train", "tiny.net", "--out", "run", *LINE)
    with launching(tmp_path, 2, *command, restarts=3) as process:
        wait_for_newer(process, checkpoint_path(tmp_path / "run", "last"), 0)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(SECONDS)
    said = (tmp_path / "said").read_text()
    assert said.count("; saved in run\n") == 1 and said.count("to go on: netdsl train --resume run") == 1, said
    assert "forcefully" not in said and "started anew" not in said, said
    code, said = trained_on(tmp_path, 2)
    assert code == 0, said
    assert bytes_of(tmp_path / "run") == bytes_of(whole / "whole")


def trained_on(folder, count):
    return ended(folder, count, "-m", "netdsl", "train", "--resume", "run", "--no-plots", "--save-every", "1")


@pytest.mark.slow("four processes: a whole run, one that is killed, one that two began")
def test_four_processes_come_to_the_same_bytes_after_a_kill(two, alone, tmp_path):
    for name in ("whole", "killed", "resumed"):
        (tmp_path / name).mkdir()
    told = told_by(tmp_path / "whole", 4, "equal", "shards", "runs")
    assert all(one["equal"][case] < 1e-12 for one in told for case in CASES)
    assert all(difference < 1e-12 for one in told for difference in one["shards"].values())
    run, hits, _ = killed(tmp_path / "killed", 4, 2, random.Random(5), 0.5)
    assert hits and bytes_of(run) == bytes_of(tmp_path / "whole" / "whole")
    shutil.copytree(two[0] / "stopped", tmp_path / "resumed" / "run")
    code, said = trained_on(tmp_path / "resumed", 4)
    assert code == 0 and "the number of processes was 2, is 4" in said, said
    ours, theirs = (
        load_file(tmp_path / "resumed" / "run" / "weights.safetensors"),
        load_file(alone / "weights.safetensors"),
    )
    for name, array in theirs.items():  # float32, 36 steps, in which the order of sums differs
        np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow("two torchruns, as on two machines, of which one loses its process")
def test_what_one_machine_loses_all_go_on_with(two, tmp_path):
    whole, _ = two
    (tmp_path / "tiny.net").write_text(SPEC)
    command = ("-m", "netdsl", "train", "tiny.net", "--out", "run", *LINE)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        place = f"--rdzv-endpoint=localhost:{free.getsockname()[1]}"
    more = ("--nnodes=2", "--rdzv-backend=c10d", "--rdzv-id=test", place)
    with (
        launching(tmp_path, 1, *command, restarts=2, more=more) as first,
        launching(tmp_path, 1, *command, restarts=2, more=more) as second,
    ):
        machines = (first, second)
        wait_for_newer(first, checkpoint_path(tmp_path / "run", "last"), 0)
        for one in machines:
            if 1 in (there := workers(one)):
                there[1].kill()
        assert [one.wait(SECONDS) for one in machines] == [0, 0], (tmp_path / "said").read_text()
    said = (tmp_path / "said").read_text()
    assert "rank 1 of 2 has ended" in said and "they go on with `run`" in said, said
    assert bytes_of(tmp_path / "run") == bytes_of(whole / "whole")


@pytest.mark.slow("50 steps of two processes in float32")
def test_two_processes_stay_together_with_one_for_50_steps(tmp_path):
    for one in told_by(tmp_path, 2, "long"):
        print(one["long"])
        for case in CASES:
            assert one["long"][f"{case} float64"] < 1e-11
            assert one["long"][f"{case} float32"] < 1e-5  # 2 ** -24 is 6e-8, and each step rounds anew


@pytest.mark.slow("two processes through torch.compile, and in 16 bits")
def test_a_compiled_module_and_one_in_16_bits_are_shared_too(tmp_path):
    for one in told_by(tmp_path, 2, "compiled", "sixteen"):
        assert one["compiled"] < 1e-10
        assert len(one["sixteen"]) == 4 and all(difference < 0.05 for difference in one["sixteen"])


# ---------------------------------------------------------------------------------------------- on many machines


@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.skipif(not shutil.which("bash"), reason="the job is a script of bash")
def test_the_job_for_slurm_says_what_torchrun_and_netdsl_understand(tmp_path, has_begun):
    for name, text in {
        "scontrol": 'printf "one\\ntwo\\n"',
        "srun": 'printf "%s\\n" "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    run = tmp_path / "runs" / "resnet20-shared"
    if has_begun:
        run.mkdir(parents=True)
        (run / "env.json").write_text("{}")
    given = {"SLURM_JOB_NODELIST": "one,two", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_ID": "7"}
    environment = {**os.environ, **given, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    job = WORKER.parents[1] / "specs" / "slurm.sh"
    made = subprocess.run(
        ["bash", "-u", job], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60
    )
    assert made.returncode == 0, made.stderr
    first, *arguments = made.stdout.splitlines()
    from torch.distributed.run import get_args_parser

    options = get_args_parser().parse_args(arguments)
    assert (first, options.nnodes, options.nproc_per_node, options.rdzv_endpoint) == ("torchrun", "2", "4", "one:29500")
    assert (options.module, options.training_script, options.max_restarts) == (True, "netdsl", 3)
    command, *rest = options.training_script_args
    given = train.make_context(command, list(rest)).params
    assert command == "train" and given["backend"] == "torch"
    assert given["resume"] == ("runs/resnet20-shared" if has_begun else None)
    assert (given["spec"], given["sync_bn"]) == ((None, None) if has_begun else (Path("resnet20.net"), True))


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.fixture
def as_rank(monkeypatch, tmp_path):
    """as_rank(RANK=0, ...): the environment of one of two processes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.net").write_text(SPEC)

    def be(**more):
        for name, value in {"WORLD_SIZE": 2, "RANK": 0, **more}.items():
            monkeypatch.setenv(name, str(value))

    return be


@pytest.mark.parametrize("backend", [[], ["--backend", "interp"]])
def test_another_backend_is_refused_by_one_line_of_the_first_process(as_rank, capsys, backend):
    as_rank()
    assert netdsl(["train", "tiny.net", *backend]) == 2
    name = backend[-1] if backend else "numpy"
    line, help = capsys.readouterr().err.splitlines()
    assert line == f"error: 2 processes share a batch by PyTorch, not by `--backend {name}`"
    assert "--backend torch" in help
    as_rank(RANK=1)
    assert netdsl(["train", "tiny.net", *backend]) == 2
    assert capsys.readouterr().err == ""


def test_an_environment_that_is_not_whole_is_one_clear_line():
    with pytest.raises(UserError, match="incomplete: 'MASTER_PORT'"):
        place_in({"RANK": "0", "WORLD_SIZE": "2"})


def test_a_run_that_was_killed_before_its_setup_was_written_begins_anew(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "model.net").write_text(SPEC)
    assert reopened(run, lambda: "begun", None, print, ALONE) == "begun"
    assert not run.exists()


def test_processes_that_are_started_anew_agree_on_a_number_that_none_had_before():
    import torch.distributed as dist

    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=20))
    store.add(STARTS, 1)  # a start whose first process ended before the others had come,
    store.set("netdsl/1/here/1", "long gone")  # and one that ended after it had
    numbers = []
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:  # the others may come first, and see the number of the start before
            coming = [pool.submit(agreed_start, store, rank, 3) for rank in (2, 1)]
            time.sleep(0.05)
            numbers.append([pool.submit(agreed_start, store, 0, 3).result(), *(one.result() for one in coming)])
    assert numbers == [[2] * 3, [3] * 3, [4] * 3]


@pytest.mark.parametrize(
    "words", ["[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]", "NCCL error: ..."]
)
def test_what_fails_because_another_process_ended_is_told_in_words(words):
    rank = Some(1, 3)
    rank.ended = lambda: "rank 2 of 3 has ended"
    with pytest.raises(ModelEnded) as met, heard_of(rank):
        raise RuntimeError(words)
    assert met.value.why == "rank 2 of 3 has ended; this one is rank 1"
    with pytest.raises(RuntimeError, match="of its own"), heard_of(rank):
        raise RuntimeError("something of its own")


def test_a_process_whose_connections_are_closed_before_it_is_dead_is_waited_for():
    rank, answers = Some(1, 3), ["", "", "rank 2 of 3 has ended"]
    rank.ended = lambda: answers.pop(0)
    with pytest.raises(ModelEnded) as met, heard_of(rank):
        raise RuntimeError("Read error: Connection reset by peer")
    assert met.value.why == "rank 2 of 3 has ended; this one is rank 1"


def test_batch_norm_and_one_process_alone_are_told_of():
    net, plain = (compile_text(f"input 4\n{text}linear 2", "net") for text in ("bn -> ", ""))
    engine = Engine("torch", 0)
    synced, sharded = (changed_engine(engine, {name: True}) for name in ("is_synced", "is_sharded"))
    assert "the running statistics are those of rank 0" in notes_on_ranks(net, engine, Some(0, 3))[0]
    assert notes_on_ranks(net, synced, Some(0, 3)) == notes_on_ranks(plain, engine, Some(0, 3)) == []
    assert notes_on_ranks(net, engine, ALONE) == []
    assert "`--sync-bn` is for several processes" in notes_on_ranks(net, synced, ALONE)[0]
    assert "`--fsdp` is for several processes" in notes_on_ranks(plain, sharded, ALONE)[0]


def test_one_process_alone_says_that_it_shares_nothing(tmp_path, capsys):
    spec = tmp_path / "small.net"
    spec.write_text("input 2\nlinear 3\ntrain { data spiral, epochs 1 }\n")
    netdsl(["train", str(spec), *LINE, "--fsdp", "--sync-bn", "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert "this one is alone, and does without" in said
    assert "sharded" not in said and "batch norm of the whole batch" not in said


@pytest.mark.parametrize(
    "name, gpus, here, expected",
    [
        ("auto", 0, 2, "auto"),
        ("cpu", 4, 2, "cpu"),
        ("auto", 2, 2, "cuda:1"),
        ("cuda", 4, 2, "cuda:1"),
        ("auto", 1, 2, "this machine has 1 GPU for 2 processes"),
        ("cuda:0", 2, 2, "`--device cuda:0` puts 2 processes on one GPU"),
        ("cuda:0", 1, 2, "cuda:0"),  # by gloo
    ],
)
def test_each_process_has_a_gpu_of_its_own(monkeypatch, name, gpus, here, expected):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    place = Place(1, here, 1, here, "localhost", 1, True)
    if " " in expected:
        with pytest.raises(UserError, match=expected):
            own_device(name, place)
    else:
        assert own_device(name, place) == expected


def test_processes_that_share_a_gpu_cannot_part_the_params(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    place = Place(1, 2, 1, 2, "localhost", 1, True)
    with pytest.raises(UserError, match="on one GPU, where `--fsdp` cannot part anything"):
        own_device("cuda:0", place, is_sharded=True)
    assert own_device("cpu", place, is_sharded=True) == "cpu"


def test_what_torchrun_hands_on_is_no_second_wish_of_the_user(capfd):
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would inherit: ignore it
    with stop_on_signals(is_launched=True) as stop:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):  # the user's, and torchrun's
            signal.raise_signal(number)
        assert stop.is_made() and stop.exit_code == 130
    signal.signal(signal.SIGINT, kept)
    assert capfd.readouterr().err.count("stopping after this step") == 1
