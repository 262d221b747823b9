"""What `netdsl summary` tells: every layer with its shapes, params and MACs, the totals, and the memory it takes."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from netdsl.analysis.layer_text import written_text
from netdsl.analysis.loss import logits_value
from netdsl.graph.ir import Graph, Input, Node, show_shape
from netdsl.graph.recipe import Recipe
from netdsl.layers.contract import plural

FLOAT32 = 4  # bytes
HEAD = ("layer", "", "output", "params", "MACs")
LEAST_NAME, LEAST_TEXT = 12, 10  # columns that names and texts keep


@dataclass(frozen=True)
class Memory:
    """Bytes in float32. Activations are every layer's output for one sample; training keeps them for the whole batch,
    beside a gradient, the optimizer's state and the running mean, if any, for every param."""

    params: int
    buffers: int
    activations: int
    training: int


def memory(graph: Graph, recipe: Recipe) -> Memory:
    """The memory of the network's own arrays; work space of the kernels comes on top."""
    params = FLOAT32 * graph.num_params
    buffers = FLOAT32 * sum(b.size for _, b in graph.buffer_specs())
    activations = FLOAT32 * sum(graph.type_of(value).size for value in range(graph.num_values))
    copies = len(recipe.state_names) + (recipe.ema is not None)
    return Memory(params, buffers, activations, (2 + copies) * params + buffers + recipe.batch * activations)


def show_bytes(count: int) -> str:
    """`1.8 MB`: powers of ten, as disks and networks count."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def shortened(text: str, length: int) -> str:
    """`text`, or its two ends where it is longer: `layer1....conv2`."""
    if len(text) <= length:
        return text
    tail = (length - 3) // 2
    return f"{text[: length - 3 - tail]}...{text[len(text) - tail :]}"


def _compact(number: str) -> str:
    """`1,234,567` as `1.23M`; anything else as it is."""
    digits = number.replace(",", "")
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if digits.isdigit() and int(digits) >= size:
            return (
                f"{int(digits) / size:.3g}{unit}" if int(digits) < 999.5 * size else f"{int(digits) / size:.0f}{unit}"
            )
    return number


def fitted(rows: list[tuple[str, ...]], width: int | None) -> list[tuple[str, ...]]:
    """The rows of a summary's table in at most `width` columns: names and texts shortened, then numbers rounded, then
    the texts left out."""
    whole = [max(len(row[i]) for row in rows) for i in range(5)]
    if width is None or sum(whole) + 8 <= width:
        return rows
    for is_compact, with_text in ((False, True), (True, True), (True, False)):
        numbers = [(_compact(row[3]), _compact(row[4])) if is_compact else row[3:] for row in rows]
        fixed = sum(
            max(map(len, column))
            for column in zip(*((row[2], *n) for row, n in zip(rows, numbers, strict=True)), strict=True)
        )
        room = width - fixed - (8 if with_text else 6)
        if room >= (LEAST_NAME + LEAST_TEXT if with_text else LEAST_NAME):
            break
    room = max(room, 5)
    name = min(whole[0], max(LEAST_NAME, room - whole[1], room // 2)) if with_text else room
    return [
        (shortened(row[0], name), *([shortened(row[1], room - name)] if with_text else []), row[2], *n)
        for row, n in zip(rows, numbers, strict=True)
    ]


@dataclass(frozen=True)
class Summary:
    """`str` is the table; `as_dict` the object of `--json`."""

    graph: Graph
    recipe: Recipe

    def _row(self, node: Node) -> dict[str, object]:
        inputs = [list(shape) for shape in self.graph.input_shapes(node)]
        return {
            "name": node.name,
            "op": node.op,
            "in": inputs[0] if len(inputs) == 1 else inputs,
            "out": list(node.shape),
            "params": node.num_params,
            "macs": node.macs,
            **({"shares": node.shares} if node.shares is not None else {}),
        }

    def as_dict(self) -> dict[str, object]:
        graph = self.graph
        return {
            "name": graph.name,
            **self._ends(),
            "params": graph.num_params,
            "trainable": graph.num_params,
            "macs": graph.num_macs,
            "memory": vars(memory(graph, self.recipe)),
            "notes": self.notes(),
            "layers": [self._row(node) for node in graph.nodes],
        }

    def _ends(self) -> dict[str, object]:
        """`input` and `output`, with the constants of the input; a dict by names where there are some."""
        graph = self.graph
        shapes = {given.name: list(given.type.sizes) for given in graph.inputs}
        made = {output.name: list(graph.shape_of(output.value)) for output in graph.outputs}
        ends: dict[str, object] = {"input": shapes if graph.takes_names else shapes[""]}
        for key in ("mean", "std"):
            numbers = {given.name: list(getattr(given, key)) for given in graph.inputs if given.mean}
            ends |= {key: numbers if graph.takes_names else numbers[""]} if numbers else {}
        return {**ends, "output": made if graph.gives_names else made[""]}

    def notes(self) -> list[str]:
        """What the compiler decided and a reader should know."""
        graph = self.graph
        last = graph.maker_of(graph.judged_value)
        if last is None or logits_value(graph, self.recipe.loss) == graph.judged_value:
            return []
        return [
            f"the loss `{self.recipe.loss}` contains `{last.op}`: in training it reads what enters `{last.name}`, "
            "so that it is applied once and stays stable"
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """layer, written as, output, params, MACs; the first rows are the inputs."""
        body: list[tuple[str, ...]] = [
            (f"input {given.name}".rstrip(), _constants(given), given.type.show_type(), "", "")
            for given in self.graph.inputs
        ]
        for node in self.graph.nodes:
            params = node.num_params
            text = written_text(node) + (f", shares {node.shares}" if node.shares is not None else "")
            body.append(
                (
                    node.name,
                    text if len(text) <= 40 else f"{text[:37]}...",
                    show_shape(node.shape),
                    f"{params:,}" if params else "",
                    f"{node.macs:,}" if node.macs else "",
                )
            )
        return body

    def total(self) -> tuple[str, ...]:
        """The last row."""
        graph = self.graph
        return (
            "total",
            plural(len(graph.nodes), "layer"),
            graph.show_outputs(),
            f"{graph.num_params:,}",
            f"{graph.num_macs:,}",
        )

    def _title(self) -> str:
        return f"{self.graph.name}: {self.graph.show_inputs()} -> {self.graph.show_outputs()}"

    def facts(self) -> list[str]:
        """Sentences below the table: memory and notes."""
        used = memory(self.graph, self.recipe)
        return [
            f"memory (float32): params {show_bytes(used.params)}, activations {show_bytes(used.activations)} a sample, "
            f"training at batch {self.recipe.batch} about {show_bytes(used.training)}",
            *_fields(self.graph),
            *(f"note: {note}" for note in self.notes()),
        ]

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Title, table and facts, in lines of at most `width` columns (40 or more); None: as wide as they are."""
        table = fitted([HEAD, *self.rows(), self.total()], width)
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        kept = len(widths) - 2  # the last two are numbers

        def line(row: tuple[str, ...]) -> str:
            left = [f"{cell:<{size}}" for cell, size in zip(row[:kept], widths[:kept], strict=True)]
            right = [f"{cell:>{size}}" for cell, size in zip(row[kept:], widths[kept:], strict=True)]
            return "  ".join([*left, *right]).rstrip()

        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        head, *body, total = map(line, table)
        around = [[self._title()], self.facts()]
        if width is not None:
            around = [[part for text in texts for part in textwrap.wrap(text, width)] for texts in around]
        return "\n".join([*around[0], "", head, rule, *body, rule, total, "", *around[1]])

    def table_html(self) -> str:
        """The table for a page."""
        from netdsl.ground.markup import table  # here, since only a notebook has use for it

        return table(HEAD, self.rows(), 2, self.total())

    def _repr_html_(self) -> str:
        from netdsl.ground.markup import heading, paragraph

        return heading(self._title()) + self.table_html() + "".join(map(paragraph, self.facts()))


def _constants(given: Input) -> str:
    """`mean 0.1307 std 0.3081`; of more than four numbers how many there are."""
    parts = []
    for name, numbers in (("mean", given.mean), ("std", given.std)):
        listed = ", ".join(f"{number:.4g}" for number in numbers)
        text = f"({len(numbers)} numbers)" if len(numbers) > 4 else f"({listed})" if len(numbers) > 1 else listed
        parts += [f"{name} {text}"] if numbers else []
    return " ".join(parts)


def _fields(graph: Graph) -> list[str]:
    """How much of a signal or a volume the last convolution or pooling sees: what makes such a network deep enough."""
    if not graph.is_plain or not graph.input.type.is_map or graph.input.type.is_image:
        return []
    from netdsl.analysis.receptive_field import receptive_field, windowed_layers  # here, since it loads NumPy

    field = next((receptive_field(graph, index) for index in reversed(windowed_layers(graph))), None)
    return [f"receptive field: `{field.name}` sees {field.show()}"] if field else []


def with_picture(graph: Graph, html: str) -> str:
    """What is said of a network in a notebook, beside its diagram."""
    from netdsl.analysis.diagram import diagram_svg
    from netdsl.ground.markup import beside

    return beside(html, diagram_svg(graph))
