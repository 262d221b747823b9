"""What the stages of one worker share: its samples, its memory, its gradients."""

import numpy as np


class Buffers:
    """Arrays that live as long as a worker, in one piece of memory (NumPy asks for huge pages for large pieces only).

    Arrays of the same key share their memory. Sizes are learned by building everything twice.
    """

    def __init__(self, dtype):
        self.dtype, self.sizes, self.places, self.memory = np.dtype(dtype), {}, {}, None

    def array(self, key, shape):
        """An array of that shape; what is in it at first is undefined."""
        size = 1
        for n in shape:
            size *= n
        if self.memory is None:
            self.sizes[key] = max(self.sizes.get(key, 0), size)
            return np.empty(shape, self.dtype)
        start = self.places[key]
        return self.memory[start : start + size].reshape(shape)

    def settle(self):
        """Take the memory for all that was asked for; from now on arrays are parts of it."""
        end = 0
        for key, size in self.sizes.items():
            self.places[key] = end
            end += (
                -(-size // 16) * 16 + 48
            )  # 64 bytes apart, and not at multiples of 4096, which would share a cache set
        self.memory = np.empty(end + 16, self.dtype)
        offset = -self.memory.ctypes.data % 64 // self.dtype.itemsize
        self.memory = self.memory[offset:]


class Worker:
    """One worker's part of a network: its samples in blocks, the stages that work on them, and its gradients.

    n: the samples of the whole batch; rows: which of them each block has, a slice, and `sizes` how many; `block` is the
    one at work. params and grads: name -> array as it is stored.
    training: stages keep what their backward pass needs. apart: blocks keep it beside each other, since they take
    turns; else one block ends before the next begins, and they share their memory.
    """

    def __init__(self, network, index, n, rows, training, apart):
        self.network, self.index, self.n, self.rows = network, index, n, rows
        self.sizes, self.version = [part.stop - part.start for part in rows], None
        self.training, self.apart, self.block = training, apart, 0
        self.params, self.grads = network.stored, network.stored_grads[index]
        self.dtype, self.num_workers = network.dtype, network.num_workers if n >= network.num_workers else 1
        self.buffers = Buffers(self.dtype)
        self.build()
        self.buffers.settle()
        self.build()

    def build(self):
        self.count, self.stages, self.memory = 0, [], None
        build = self.network.train_stages if self.training else self.network.infer_stages
        self.s = build(self)

    def release(self):
        """Give the memory back at once: stages and worker refer to each other."""
        self.s, self.stages, self.buffers = None, [], None

    def arrays(self, shape):
        """An array for each block, shape(n) for its n samples, that keeps what is in it until the block ends."""
        self.count += 1
        return self.by_block([(i if self.apart else 0, self.count) for i in range(len(self.sizes))], shape)

    def into(self, memory):
        """This worker; what the next stage hands on goes into the memory of that number, which others use before and
        after it."""
        self.memory = memory
        return self

    def outputs(self, shape):
        """As `arrays`, for what a stage's forward gives: kept in training, handed on at inference."""
        return self.arrays(shape) if self.training else self.gradients(shape)

    def gradients(self, shape):
        """As `arrays`, for what a stage's backward gives, which is handed on."""
        memory, self.given = self.given, None
        if memory is None:
            return self.arrays(shape)
        return self.by_block([(memory, "handed on", i if self.apart else 0) for i in range(len(self.sizes))], shape)

    def zeros(self, shape):
        """As `arrays`; they start as zeros, and what is not written stays so."""
        self.count += 1
        found = self.by_block([(i if self.apart else -n, self.count) for i, n in enumerate(self.sizes)], shape)
        return self.cleared(found)

    def frame(self, shape, inside):
        """Scratch that starts as zeros, for stages that write to the same part of it: (first row, first column, rows,
        columns)."""
        keys = [("frame", inside, shape(n)) for n in self.sizes]
        return self.cleared(self.by_block(keys, shape))

    def cleared(self, found):
        for array in found:
            array[...] = 0
        return found

    def scratch(self, key, shape):
        """As `arrays`, but whoever asks for the same key gets the same memory."""
        return self.by_block([key] * len(self.sizes), shape)

    def bits(self, shape):
        """As `arrays`, of booleans."""
        arrays = self.arrays(lambda n: (-(-int(np.prod(shape(n))) // self.dtype.itemsize),))
        sizes = [(int(np.prod(shape(n))), shape(n)) for n in self.sizes]
        return [a.view(np.bool_)[:size].reshape(s) for a, (size, s) in zip(arrays, sizes, strict=True)]

    def masks(self, shape):
        """As `scratch`, of booleans, flat."""
        size = int(np.prod(shape))
        return [mask.view(np.bool_) for mask in self.scratch("mask", lambda n: (-(-n * size // self.dtype.itemsize),))]

    def by_block(self, keys, shape):
        made = {}
        for key, n in zip(keys, self.sizes, strict=True):
            if (key, n) not in made:
                made[key, n] = self.buffers.array(key, shape(n))
        return [made[key, n] for key, n in zip(keys, self.sizes, strict=True)]

    def shared(self, key, shape, dtype=None):
        """An array that all workers see, of the network's dtype if there is none."""
        return self.network.shared((key, shape), shape, dtype)

    def constants(self, make, *arguments):
        """What make(*arguments, dtype) gives, made once for all workers."""
        known = self.network.known_constants
        if (make, arguments) not in known:
            known[make, arguments] = make(*arguments, self.dtype)
        return known[make, arguments]

    def add_named_gradient(self, name, grad):
        """The gradient of a param in PyTorch's shape, by one block."""
        target = self.network.named_grads[self.index][name]
        if self.block == 0:
            target[...] = grad
        else:
            target += grad

    def part(self, size):
        """Begin and end of this worker's part of `size` things."""
        return self.index * size // self.num_workers, (self.index + 1) * size // self.num_workers

    def run(self, steps):
        """Steps, one for each block, are generators that yield where they wait for all other blocks and workers."""
        if not self.apart:
            for self.block, step in enumerate(steps):
                for _ in step:
                    self.network.wait(self.n)
            return
        running = True
        while running:
            for self.block, step in enumerate(steps):
                running = next(step, "ended") != "ended"
            if running:
                self.network.wait(self.n)
