"""Contestants that go wrong, each in its own way; `netdsl.bench` starts them in their own processes."""

import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from netdsl.bench.contestants import Entry, Interpreter
from netdsl.bench.texts import NumpyWriter


def planted(name):
    """The entry of one of the classes below."""
    return Entry(name, f"bench_contestants:{name}")


class WrongOutput(Interpreter):
    """Infers something else."""

    def inference(self):
        return lambda x: self.model.forward(x) * 1.01


class WrongForTwo(Interpreter):
    """Infers something else of two samples."""

    def inference(self):
        return lambda x: self.model.forward(x) * (1.01 if len(x) == 2 else 1)


class WrongGradients(Interpreter):
    """Its losses are right until the first step has been made."""

    def training(self):
        return lambda x, y: self.model.train_step(x, y, lr=-0.1)


class Raises(Interpreter):
    """Cannot train."""

    def training(self):
        raise ValueError("the moon is full")


class Leaves(Interpreter):
    """Its process ends by itself."""

    def training(self):
        print("good bye", flush=True)
        os._exit(7)


class Killed(Interpreter):
    """Its process is killed while another one, that it forked, holds its pipes."""

    def inference(self):
        if os.fork() == 0:
            time.sleep(60)
        os.kill(os.getpid(), signal.SIGKILL)


class Talks(Interpreter):
    """Writes where its answers go."""

    def build(self):
        super().build()
        print("hello")
        os.write(1, b"hello again")


class Spins(Interpreter):
    """Never rests."""

    def build(self):
        super().build()
        threading.Thread(target=self.spin, daemon=True).start()

    def spin(self):
        while True:
            pass


class Hoards(Interpreter):
    """Holds 50 MB, and 50 MB more in a process of its own."""

    def build(self):
        super().build()
        self.hoard = np.ones(50_000_000, np.uint8)
        read, write = os.pipe()
        if os.fork() == 0:
            hoard = np.ones(50_000_000, np.uint8)
            os.write(write, hoard[:1])
            time.sleep(60)
        os.read(read, 1)


class Shares(Interpreter):
    """Holds 50 MB together with a process of its own, and held 100 MB more before there was a network."""

    def __init__(self, job):
        super().__init__(job)
        np.ones(100_000_000, np.uint8)

    def build(self):
        super().build()
        self.shared = shared = np.frombuffer(mmap.mmap(-1, 50_000_000), np.uint8)
        shared[:] = 1
        read, write = os.pipe()
        if os.fork() == 0:
            shared[:] = 2
            os.write(write, shared[:1])
            time.sleep(60)
        os.read(read, 1)


class Environment(Interpreter):
    """Its output is how many threads it was told to use."""

    def inference(self):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
        return lambda x: np.array([float(os.environ[name]) for name in names] + [self.job.threads])


class Spawns(Interpreter):
    """Starts a process in its group and one in a session of its own, writes their numbers down, and never answers."""

    def build(self):
        super().build()
        code = "import time; time.sleep(600)"
        pids = [subprocess.Popen([sys.executable, "-c", code], start_new_session=own).pid for own in (False, True)]
        Path(os.environ["NETDSL_TEST_PIDS"]).write_text(" ".join(map(str, [os.getpid(), *pids])) + "\n")
        time.sleep(600)


class Dawdles(Interpreter):
    """Takes its time before it is ready."""

    def build(self):
        time.sleep(0.8)
        super().build()


class Sleeps(Interpreter):
    """Never gets ready."""

    def build(self):
        time.sleep(600)


class Dwindles(Interpreter):
    """Its moments are on their way to zero, every other number."""

    def show_numbers(self, x, y, show):
        show("moments", np.array([1e-3, 1e-41] * 8, np.float32))


class WritesOther(NumpyWriter):
    """Its third number is another one."""

    def as_array(self, output):
        return np.where(np.arange(len(output)) == 2, output + 1, output)
