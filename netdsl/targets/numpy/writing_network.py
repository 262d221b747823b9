"""How a NumPy network goes on with a text; its text is copied into emitted modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.kernels.sampling import drawn_ids
from netdsl.targets.numpy.token_network import TokenNetwork


class WritingNetwork(TokenNetwork):
    """A network that says of each number of a text which one follows.

    next_logits(x, states): x (N, S), the next numbers -> logits (N, S, V); states: what its layers keep of the numbers
    before, {} at the beginning. window: so many numbers it sees at a time; 0: all.
    """

    window: int
    next_logits: Callable[[Array, dict[str, Any]], Array]

    def generate(
        self,
        prompt: Any,
        n: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int = 0,
        cache: bool = True,
    ) -> Array:
        """prompt (S,) or (N, S), whole numbers -> the n that follow, (n,) or (N, n).

        Each is drawn as `drawn_ids` says. cache: whether layers keep what they have made of earlier numbers; without it
        all is computed again for each number, and the numbers are the same.
        """
        prompt = np.asarray(prompt)
        texts = np.atleast_2d(prompt)
        numbers = self.continued(texts, temperature, top_k, np.random.default_rng(seed), cache)
        made = np.zeros((len(texts), n), np.int64)
        for i, drawn in zip(range(n), numbers, strict=False):
            made[:, i] = drawn
        return made.reshape(*prompt.shape[:-1], n)

    def continued(
        self,
        texts: Array,
        temperature: float,
        top_k: int | None,
        rng: np.random.Generator,
        cache: bool,
        known: int | None = None,
    ) -> Iterator[Array]:
        """texts (N, S) -> the numbers that follow, (N,) at a time, without end. known: numbers below it alone; None:
        all. Where the window is full, its second half begins the next one. Raises ValueError."""
        if not texts.size or texts.dtype.kind not in "iu":
            raise ValueError(f"a text has one whole number or more, not {texts.dtype} of the shape {texts.shape}")
        states: dict[str, Any]
        new = texts[:, -self.window :]
        seen, states = new[:, :0], {}
        while True:
            if self.window and seen.shape[1] + new.shape[1] > self.window:
                new = np.concatenate([seen, new], axis=1)[:, -max(1, self.window // 2) :]
                seen, states = new[:, :0], {}
            seen = np.concatenate([seen, new], axis=1)
            logits = self.next_logits(new, states) if cache else self.next_logits(seen, {})
            drawn = drawn_ids(logits[:, -1, :known], temperature, top_k, rng)
            yield drawn
            new = drawn[:, None]
