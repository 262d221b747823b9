"""Random syntax over every construct of the language, written by an untidy hand: for the tests of the printer.

Nothing here needs to make sense as a network. A text is a list of pieces: strings stand as they are; OPTIONAL and SPACE
are white space that the writer may choose; a tuple is a line break with the comments that stand before it and on lines
of their own behind it. So one list can be written tidily or not, with the same words, comments and line breaks.
"""

from random import Random

OPTIONAL, SPACE = object(), object()
NAMES = ("c", "k", "wide", "n", "s_2", "index")
COMMENTS = (
    "# why",
    "#",
    '# "quoted',
    "# } { ( | -> else",
    "#tight\ttab",
    "# \u00e9t\u00e9 \u2028 \U0001f600",
    "## 2 * relu",
)
ARITHMETIC = ("+", "-", "*", "/", "//", "%")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
NUMBERS = ("0", "1", "32", "1_000", "0.10", "1e-3", "2.50E+2", "007")
FLAGS = ("k3", "s2", "k3x5", "nobias", "same")


def written(pieces, untidy):
    """The text of the pieces; `untidy` (a Random, or None for the least white space) chooses the white space."""

    def blank(least):
        return " " * least if untidy is None else untidy.choice((" " * least, " ", "  ", "\t", " \t  "))

    text = []
    for piece in pieces:
        if isinstance(piece, str):
            text.append(piece)
        elif isinstance(piece, tuple):
            for comment in piece:
                repeat = untidy.choice((1, 1, 3)) if untidy is not None and comment is None else 1
                text += [blank(0), comment or "", "\n"] * repeat
            text.append(blank(0))
        else:
            text.append(blank(piece is SPACE))
    return "".join(text)


def comments_in(pieces):
    return [comment for piece in pieces if isinstance(piece, tuple) for comment in piece if comment]


class Hand:
    """Writes pieces; `choose` (a Random) decides what."""

    def __init__(self, choose):
        self.choose = choose

    def often(self, parts):
        return self.choose.randrange(parts) > 0

    def some(self, make, least=1, most=3):
        return [make() for _ in range(self.choose.randint(least, most))]

    # ------------------------------------------------------------------------------ white space

    def break_(self):
        """The end of a line: maybe a comment, then maybe blank lines (None) and lines of comment."""
        first = self.choose.choice((None, None, *COMMENTS))
        rest = [] if self.often(3) else self.some(lambda: self.choose.choice((None, *COMMENTS)), 1, 3)
        return ("" if first is None else first, *rest)

    def maybe_break(self, parts=4):
        return OPTIONAL if self.often(parts) else self.break_()

    def joined(self, items, joint):
        """The items with what `joint` makes between each two."""
        pieces = list(items[0])
        for item in items[1:]:
            pieces += [*joint(), *item]
        return pieces

    # ------------------------------------------------------------------------------ expressions

    def parentheses(self, open_, items, close, comma_last=False):
        def comma():
            return [OPTIONAL, ",", self.maybe_break(6)]

        inside = [*self.joined(items, comma), *([OPTIONAL, ","] if comma_last else [])] if items else []
        return [open_, self.maybe_break(6), *inside, self.maybe_break(6), close]

    def atom(self, depth):
        kind = self.choose.randrange(9 if depth > 0 else 4)
        if kind == 0:
            return [self.choose.choice(NUMBERS)]
        if kind == 1:
            return [self.choose.choice(NAMES)]
        if kind == 2:
            return [self.choose.choice(("in.c", "in.h", "in.n", "in.d", "in.space"))]
        if kind == 3:
            return [self.choose.choice(("3x5", "1x28x28"))]
        if kind <= 5:
            return self.parentheses("(", [self.condition(depth - 1)], ")")
        if kind == 6:
            return self.parentheses("(", self.some(lambda: self.condition(depth - 1), 2, 3), ")", not self.often(3))
        if kind == 7:
            return self.parentheses("[", self.some(lambda: self.condition(depth - 1), 0, 3), "]", not self.often(3))
        name = self.choose.choice(("max", "min", "size"))
        return [name, *self.parentheses("(", self.some(lambda: self.condition(depth - 1), 0, 3), ")")]

    def arithmetic(self, depth):
        def term():
            return [*(["-", OPTIONAL] if self.choose.randrange(6) == 0 else []), *self.atom(depth)]

        return self.joined(
            self.some(term, 1, 1 + (depth > 0)), lambda: [OPTIONAL, self.choose.choice(ARITHMETIC), OPTIONAL]
        )

    def condition(self, depth):
        def comparison():
            sides = self.some(lambda: self.arithmetic(depth), 1, 1 + (self.choose.randrange(3) == 0))
            negated = ["not", SPACE] if self.choose.randrange(8) == 0 else []
            return negated + self.joined(sides, lambda: [OPTIONAL, self.choose.choice(COMPARISONS), OPTIONAL])

        parts = self.some(comparison, 1, 1 + (self.choose.randrange(4) == 0))
        return self.joined(parts, lambda: [SPACE, self.choose.choice(("and", "or")), SPACE])

    # ------------------------------------------------------------------------------ chains

    def argument(self, value):
        key = [self.choose.choice(("k", "s", "kernel_size")), OPTIONAL, "=", OPTIONAL] if not self.often(3) else []
        return key + value(2)

    def layer(self):
        pieces = [self.choose.choice(("conv", "relu", "linear", "id"))]
        for _ in range(self.choose.randrange(4)):
            flag = [self.choose.choice(FLAGS)]
            pieces += [SPACE, *(flag if self.often(2) else self.argument(self.arithmetic))]
        return pieces

    def call(self):
        name = self.choose.choice(("neck", "f_2"))
        return [name, *self.parentheses("(", self.some(lambda: self.argument(self.condition), 0, 3), ")")]

    def merge(self, depth):
        def branch():
            return self.joined(self.some(lambda: self.inner(depth - 1), 1, 2), lambda: [self.break_()])

        def bar():
            return [self.maybe_break(), "|", self.maybe_break()]

        op = self.choose.choice(("add", "mul", "cat", "res"))
        return [op, OPTIONAL, "{", self.maybe_break(), *self.joined(self.some(branch), bar), self.maybe_break(), "}"]

    def body(self, depth):
        statements = self.some(lambda: self.inner(depth - 1), 0, 2)
        inside = self.joined(statements, lambda: [self.break_()]) if statements else []
        return ["{", *([self.maybe_break(), *inside] if statements else []), self.maybe_break(), "}"]

    def cond(self, depth):
        pieces = ["if", SPACE, *self.condition(2), OPTIONAL, *self.body(depth)]
        if self.often(2):
            other = [OPTIONAL, *self.body(depth)] if self.often(3) else [SPACE, *self.cond(depth)]
            pieces += [self.maybe_break(), "else", *other]
        return pieces

    def loop(self, depth):
        names = self.joined(self.some(lambda: [self.choose.choice(NAMES)]), lambda: [OPTIONAL, ",", OPTIONAL])
        items = self.joined(self.some(lambda: self.arithmetic(1), 2, 2), lambda: [OPTIONAL, "..", OPTIONAL])
        items = items if self.often(2) else self.condition(2)
        return ["for", SPACE, *names, SPACE, "in", SPACE, *items, OPTIONAL, *self.body(depth)]

    def primary(self, depth):
        simple = [self.layer, self.layer, self.layer, self.call, lambda: [self.choose.choice(("@skip", "@a.b_1.0"))]]
        nested = [lambda made=made: made(depth) for made in (self.body, self.merge, self.cond, self.loop)]
        return self.choose.choice(simple + (nested if depth > 0 else []))()

    def element(self, depth):
        label = self.choose.choice((["stem"], ["b", "{i}"], ["l", "{2*i+1}", "_x"])) if not self.often(5) else []
        count = self.choose.choice((["2"], ["n"], self.parentheses("(", [self.condition(1)], ")")))
        count = [] if self.often(4) else [*count, OPTIONAL, "*", OPTIONAL]
        return [*label, *([OPTIONAL, ":", OPTIONAL] if label else []), *count, *self.primary(depth)]

    def chain(self, depth):
        def arrow():
            return [self.maybe_break(), "->", self.maybe_break()]

        return self.joined(self.some(lambda: self.element(depth)), arrow)

    def inner(self, depth):
        kind = self.choose.randrange(8)
        if kind == 0:
            return ["expect", SPACE, *self.condition(2)]
        if kind == 1:
            return ["let", SPACE, self.choose.choice(NAMES), OPTIONAL, "=", OPTIONAL, *self.condition(2)]
        return self.chain(depth)

    # ------------------------------------------------------------------------------ files

    def block(self):
        def param():
            default = [OPTIONAL, "=", OPTIONAL, *self.condition(1)] if self.often(2) else []
            return [self.choose.choice(NAMES), *default]

        name = self.choose.choice(("neck", "unet"))
        return ["block", SPACE, name, *self.parentheses("(", self.some(param, 0, 3), ")"), OPTIONAL, *self.body(1)]

    def train(self):
        def setting():
            key = [self.choose.choice(("lr", "wd-x", "let")), OPTIONAL, "=", OPTIONAL] if self.often(2) else []
            values = self.parentheses("(", [["0.9"], ["0.999"]], ")")
            return key + self.choose.choice((["1e-3"], ["1_0steps"], ["mnist-mini"], ['"a # b"'], ["if"], values))

        def entry():
            key = self.choose.choice(("data", "opt", "for-x", "else"))
            return self.joined([[key], *self.some(setting, 0, 2)], lambda: [SPACE])

        def end():
            return [self.break_()] if self.often(2) else [OPTIONAL, ",", self.maybe_break()]

        entries = self.some(entry, 0, 4)
        inside = self.joined(entries, end) if entries else []
        return ["train", OPTIONAL, "{", *([self.maybe_break(), *inside] if entries else []), self.maybe_break(), "}"]

    def use(self):
        return ["use", SPACE, self.choose.choice(("std", '"a#{b.net"', '"blocks.net"'))]

    def statement(self):
        kind = self.choose.randrange(8)
        if kind < 4:
            return [self.block, self.block, self.train, self.use][kind]()
        return self.inner(2)

    def input(self):
        """`input 1x28x28`, some with `mean (-0.5, 1e-3) std 2` behind it."""
        sizes = self.choose.choice((["4"], ["1x28x28"], ["1x16x64x64"], ["9x128", SPACE, "map"]))
        pieces = ["input", SPACE, *sizes]
        for name in ("mean", "std") if self.often(3) else ():
            number = [["-", OPTIONAL], []][self.choose.randrange(2)] + [self.choose.choice(("2", "0.5", "1e-3"))]
            several = [OPTIONAL, *self.parentheses("(", [number, ["3"]], ")")]
            pieces += [SPACE, name, *(several if self.often(2) else [SPACE, *number])]
        return pieces

    def file(self):
        statements = [self.input(), *self.some(self.statement, 0, 3)]
        return [self.maybe_break(), *self.joined(statements, lambda: [self.break_()]), self.maybe_break()]


def messy_spec(choose, seed):
    """(untidy text, the same with the least white space, its comments in order)."""
    pieces = Hand(choose).file()
    return written(pieces, Random(seed)), written(pieces, None), comments_in(pieces)
