"""Emitted text has no annotations and no declarations, and all else of it stands as it was written."""

import ast
import inspect
import pkgutil
import textwrap
from importlib import import_module

import pytest

import netdsl.kernels
import netdsl.layers
import netdsl.stages
from netdsl.layers import layer_table
from netdsl.targets.text import kernel_source
from netdsl.targets.text.kernel_source import kernel_texts
from netdsl.targets.text.plain_text import WIDTH, plain_text


def plain(text):
    return plain_text(textwrap.dedent(text).strip("\n"))


def modules():
    """Every module whose functions may be emitted."""
    for room in (netdsl.kernels, netdsl.stages, netdsl.layers):
        for module in pkgutil.iter_modules(room.__path__):
            if not module.ispkg:
                yield import_module(f"{room.__name__}.{module.name}")
    texts = ("numpy.network", "numpy.named_network", "fast.storage", "fast.network", "fast.parts", "fast.split_network")
    for name in (*texts, "fast.named_network", "fast.forked_network", "text.answers", "torch.answers"):
        yield import_module(f"netdsl.targets.{name}")


class Bare(ast.NodeTransformer):
    """A tree without annotations and declarations, to compare the rest."""

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_FunctionDef(self, node):
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node):
        if node.value is None or ast.unparse(node.target) == "can":
            return None
        return ast.Assign([node.target], self.visit(node.value))

    def visit_ClassDef(self, node):
        if node.decorator_list:  # the fields of a dataclass stay
            return ast.ClassDef(**{**vars(node), "body": [self.bare(part) for part in node.body]})
        node.body = [
            part for part in node.body if not (isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "can")
        ]
        return self.generic_visit(node)

    def bare(self, part):
        return part if isinstance(part, ast.AnnAssign) else self.visit(part)

    def visit_Assign(self, node):
        return node


def body_lines(text):
    """The lines of a text that stand in no header."""
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    headers = {number for node in functions for number in range(node.lineno, node.body[0].lineno)}
    return [line for number, line in enumerate(text.split("\n"), 1) if number not in headers]


def test_annotations_go_and_defaults_stay_as_they_are_written():
    text = """
        def step(param: Array, lr: float = 1e-2, betas: Pair = (0.9, 0.999), *, eps: float = 1e-05) -> None:
            \"\"\"param -= lr.\"\"\"
            param -= lr  # a comment: with a colon
    """
    expected = """
        def step(param, lr=1e-2, betas=(0.9, 0.999), *, eps=1e-05):
            \"\"\"param -= lr.\"\"\"
            param -= lr  # a comment: with a colon
    """
    assert plain(text) == textwrap.dedent(expected).strip("\n")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("def f() -> None:", "def f():"),
        ("def f(x: int):", "def f(x):"),
        ("def f(*xs: Array, **more: dict[str, int]) -> int:", "def f(*xs, **more):"),
        ("def f(a: int, /, b: int = 2, *, c: int, d: int = 4) -> int:", "def f(a, /, b=2, *, c, d=4):"),
        ("def f(a: int, *rest: int, c: int = 0x10) -> int:", "def f(a, *rest, c=0x10):"),
        ("def f(take: Callable[[int], dict[str, int]] = {'a': 1}.get):", "def f(take={'a': 1}.get):"),
        ("def f(cut: slice = slice(1, 2), *, key: str = 'a:b') -> 'A':", "def f(cut=slice(1, 2), *, key='a:b'):"),
        ("def f(rule: Rule = lambda x: x) -> int:", "def f(rule=lambda x: x):"),
        ("def f(\n    x: int,\n    y: int = 1,\n) -> int:", "def f(x, y=1):"),
        ("def f(\n    x: int, y: float = 1.50\n) -> tuple[\n    int,\n]:", "def f(x, y=1.50):"),
    ],
)
def test_a_header_with_annotations_is_laid_out_again(header, expected):
    assert plain_text(f"{header}\n    return 1") == f"{expected}\n    return 1"


@pytest.mark.parametrize("header", ["def f(x, y = 1) :", "def f(\n    x,\n    y=1,  # of the plane\n):", "def f( x ):"])
def test_a_header_without_annotations_stays_byte_for_byte(header):
    assert plain_text(f"{header}\n    return 1") == f"{header}\n    return 1"


def test_a_body_in_the_line_of_its_header_stays():
    assert plain_text("def f(x: int) -> int: return {1: x}[1]") == "def f(x): return {1: x}[1]"


def test_a_long_header_is_broken_as_the_formatter_breaks_it():
    names = [f"argument_{i}" for i in range(10)]
    for count, form in ((7, "def f({}):"), (8, "def f(\n    {}\n):")):
        given = ", ".join([*names[:count], "more=(1, 2, 3, 4)"])
        expected = form.format(given) + "\n    return 1"
        annotated = f"def f(\n    {', '.join(f'{name}: Array' for name in names[:count])},"
        assert plain_text(f"{annotated}\n    more: Shape = (1, 2, 3, 4),\n) -> Array:\n    return 1") == expected
        assert max(map(len, expected.split("\n"))) <= WIDTH
    each = "".join(f"        {name},\n" for name in ("self", *names))
    annotated = (
        f"class A:\n    def f(\n        self,\n        {', '.join(f'{name}: Array' for name in names)},\n    ):\n"
    )
    assert plain_text(annotated + "        return 1") == f"class A:\n    def f(\n{each}    ):\n        return 1"


def test_a_comment_in_an_annotated_header_is_refused():
    with pytest.raises(AssertionError, match="a comment in the header of `f`"):
        plain_text("def f(\n    x: int,  # of the plane\n):\n    return x")


def test_a_default_on_several_lines_is_refused():
    with pytest.raises(AssertionError, match="the default of `x` stands on several lines"):
        plain_text("def f(x: Shape = (\n    1,\n    2,\n)):\n    return x")


def test_what_is_said_to_the_type_checker_goes():
    text = "def f(x):\n    y = x  # as it is\n    return y.z  # type: ignore[attr-defined]  # the stubs lack it\n"
    assert plain(text) == "def f(x):\n    y = x  # as it is\n    return y.z"


def test_functions_in_functions_and_variables_lose_their_annotations():
    text = """
        def f(x: int) -> int:
            rows: Any
            total: dict[str, int] = {"a: b": 1}  # why: so
            def inner(y: int = 3) -> int:
                can = y
                return can
            return inner(total["a: b"])
    """
    expected = """
        def f(x):
            total = {"a: b": 1}  # why: so
            def inner(y=3):
                can = y
                return can
            return inner(total["a: b"])
    """
    assert plain(text) == textwrap.dedent(expected).strip("\n")


def test_what_a_class_declares_goes_and_what_it_sets_stays():
    text = '''
        class Stage:
            """A stage."""

            can = Can(
                relu=True,
            )
            x: list[Array]

            band_bytes: int = 1 << 18
            can: ClassVar[Can] = Can()
            least = 16
            y: Array

            def __init__(self, w: Worker) -> None:
                self.can = 1
                self.x: list[Array] = []
    '''
    expected = '''
        class Stage:
            """A stage."""

            band_bytes = 1 << 18
            least = 16

            def __init__(self, w):
                self.can = 1
                self.x = []
    '''
    assert plain(text) == textwrap.dedent(expected).strip("\n")


def test_letters_that_are_no_ascii_shift_nothing():
    text = 'def f(é: int = 1, b: str = "ü") -> int:\n    ü: int = é\n    return ü'
    assert plain_text(text) == 'def f(é=1, b="ü"):\n    ü = é\n    return ü'


def test_every_text_that_can_be_emitted_says_what_its_source_says():
    count = 0
    for module in modules():
        known = kernel_source.definitions(module)
        for name in known:
            text, emitted = known.written(name), kernel_source.emitted_text(module, name)
            assert ast.dump(ast.parse(emitted)) == ast.dump(Bare().visit(ast.parse(text))), name
            kept = iter(line.partition("  # type: ignore")[0] for line in body_lines(text))
            assert all(line in kept for line in body_lines(emitted) if ": " not in line and " = " not in line), name
            assert max(map(len, emitted.split("\n"))) <= WIDTH
            count += 1
    assert count > 250


OF_FAST = kernel_source.definitions(import_module("netdsl.stages.adam"))


def test_no_two_definitions_that_may_meet_in_a_module_share_a_name():
    """kernel_texts refuses two of one name; here all are asked for at once, but the textbook's Adam, in whose place a
    fast module has its own (stages/adam.py)."""
    roots = [getattr(layer, which) for layer in layer_table().values() for which in ("forward", "backward")]
    for module in modules():
        if module.__name__.startswith(
            ("netdsl.kernels", "netdsl.stages", "netdsl.targets.numpy", "netdsl.targets.fast")
        ):
            names = set(kernel_source.definitions(module)) - set(
                OF_FAST if module.__name__.endswith("optimizers") else ()
            )
            roots += [vars(module)[name] for name in sorted(names)]
    assert len(kernel_texts(roots)) > 250


def decorate(function):
    return function


@decorate
def decorated(x):
    return x


def test_a_decorated_function_is_no_kernel():
    assert "decorated" in inspect.getsource(decorated)
    with pytest.raises(AssertionError, match="has no text of its own, or a decorator"):
        kernel_texts([decorated])
