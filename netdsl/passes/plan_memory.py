"""Which stages may hand on their numbers in the same memory: those whose numbers are never needed at the same time.

At inference a stage hands on its output, in training its gradient by the input: outputs are kept there until the
backward pass has read them. An output that this does not read is handed on in training, too. The worker makes each
piece of memory as large as its largest user needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from netdsl.passes.plan import Plan, Planned, needs_gradient

Step = tuple[Planned, Sequence[int], Sequence[int], bool]
"""A stage, the values it reads and makes on the way there or back, and whether what it makes is an array of its own."""


def plan_memory(plan: Plan) -> Plan:
    """Give a number to the memory of every stage that makes arrays of its own. Right because no two values that are
    needed at the same time share a number; what a stage may give as a view of what it read counts as the same
    memory. The way there and the way back share numbers: what is handed on ends with either.

    Among the numbers that are free a stage gets the one whose memory grows least for it.
    """
    sizes: dict[int, int] = {}
    if plan.training:
        return _numbered(_numbered(plan, list(_backward(plan)), sizes), list(_forgotten(plan)), sizes)
    return _numbered(plan, list(_forward(plan)), sizes)


def _numbered(plan: Plan, steps: Sequence[Step], sizes: dict[int, int]) -> Plan:
    """The plan with numbers for what these steps make. sizes: how large the memory of each number is by now."""
    last = {value: i for i, (_, reads, _, _) in enumerate(steps) for value in reads}
    if not plan.training:
        last |= dict.fromkeys(plan.outputs, len(steps))
    held: dict[int, frozenset[int]] = {}  # value -> the memory that it may lie in
    numbered, maker = [], dict[int, str]()
    for i, (stage, reads, makes, own) in enumerate(steps):
        read = frozenset[int]().union(*(held.get(value, frozenset()) for value in reads))
        lies_in = read
        if own:
            size = max((math.prod(plan.type_of(value).sizes) for value in makes), default=0)
            taken = read.union(*held.values())
            free = [n for n in range(len(sizes) + 1) if n not in taken]
            number = min(free, key=lambda n: (max(size - sizes.get(n, 0), 0), n))
            sizes[number] = max(size, sizes.get(number, 0))
            numbered.append(replace(stage, memory=number))
            lies_in = frozenset({number})
        for value in makes:
            if maker.setdefault(value, stage.node.name) == stage.node.name:  # what others give is added to it there
                held[value] = held.get(value, frozenset()) | lies_in
        for value in [value for value in held if last.get(value, -1) <= i]:
            del held[value]
    return plan.with_stages(*numbered)


def _forward(plan: Plan) -> Iterator[Step]:
    for stage in plan.stages:
        own = stage.can.has_own_output and not _works_in_place(stage) and not stage.options.get("is_lent", False)
        yield stage, stage.inputs, (stage.output,), own


def _backward(plan: Plan) -> Iterator[Step]:
    """The steps of the emitted backward pass; a gradient is called by its value."""
    needed = needs_gradient(plan)
    reached = {plan.output}
    for stage in reversed(plan.stages):
        if stage.output not in reached or stage.output not in needed:
            continue
        reached.update(needed.intersection(stage.inputs))
        apart = 0 if stage.epilogue.plus else 1 if stage.can.copies_gradient else None
        makes = [value for i, value in enumerate(stage.inputs) if value in needed and i != apart]
        yield stage, (stage.output,), makes, stage.can.has_own_gradient and not stage.epilogue.plus
        if apart is not None:
            makes = [value for value in stage.inputs[apart : apart + 1] if value in needed]
            yield stage, (stage.output,), makes, True


def _forgotten(plan: Plan) -> Iterator[Step]:
    """The steps of the forward pass in training that make or read an output which is not read on the way back, neither
    by the stage that makes it nor by those behind it."""
    forgotten: set[int] = set()
    for stage in plan.stages:
        can = stage.can
        own = can.has_own_output and can.forgets_output and not (stage.epilogue.ends or stage.epilogue.plus)
        if (
            own
            and stage.output not in plan.outputs
            and all(_forgets(r, stage.output) for r in plan.readers(stage.output))
        ):
            forgotten.add(stage.output)
        yield (
            stage,
            [value for value in stage.inputs if value in forgotten],
            [value for value in (stage.output,) if value in forgotten],
            stage.output in forgotten,
        )


def _forgets(reader: Planned, value: int) -> bool:
    """Whether what reads a value on the way there reads nothing of it on the way back, and makes none of it."""
    return reader.can.has_own_output and (
        reader.can.forgets_input or reader.epilogue.plus and value != reader.inputs[0]
    )


def _works_in_place(stage: Planned) -> bool:
    return stage.can.work_in_place and not stage.options.get("copies", False)
