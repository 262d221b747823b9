"""The command line: `netdsl COMMAND`. Commands live in one module each and hold no rule of their own.

Data goes to stdout, messages to stderr. Exit codes: 0 ok; 1 errors in a spec; 2 usage, configuration, files; 3 training
failed; 101 a bug of netdsl; 130 interrupted; 141 the reader of a pipe went away.
"""

from __future__ import annotations

import errno
import os
import sys
import types
from importlib import import_module

import click

from netdsl import __version__
from netdsl.ground.diagnostics import SpecError, TrainingFailed, UserError, did_you_mean, plain
from netdsl.ground.ranks import SaidElsewhere
from netdsl.ground.system.console import be_readable, drop_broken, has_no_reader
from netdsl.ground.system.disk import advice

COMMANDS = (
    "check",
    "fmt",
    "summary",
    "explain",
    "compile",
    "verify",
    "train",
    "eval",
    "predict",
    "sample",
    "plot",
    "bench",
    "data",
)


_ELSEWHERE = {
    "help": "--help",
    "version": "--version",
    "format": "fmt",
    "lint": "check",
    "build": "compile",
    "emit": "compile",
    "fit": "train",
    "run": "train",
    "resume": "train --resume",
    "test": "eval",
    "evaluate": "eval",
    "show": "summary",
    "draw": "plot",
    "benchmark": "bench",
    "fix": "check --fix",
    "infer": "predict",
    "generate": "sample",
    "write": "sample",
    "export": "compile",
    "fetch": "data fetch",
    "download": "data fetch",
    "datasets": "data list",
}
"""What other programs call a command -> what it is here."""


class _Commands(click.Group):
    """Commands are imported when they are named; their modules import anything heavy only when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"netdsl.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command gets the one that is meant; a spec in its place gets `check`."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            guess = _ELSEWHERE.get(name) or did_you_mean(name, COMMANDS)
            meant = f"did you mean `{guess}`?" if guess else f"the commands are {', '.join(COMMANDS)}"
            meant = f"did you mean `netdsl check {name}`?" if name.endswith(".net") else meant
            ctx.fail(f"no such command `{plain(name)}`; {plain(meant)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """A reader who went away is exit code 141; click would make 1 of it."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if not has_no_reader(error):
                raise
            drop_broken()
            ctx.exit(141)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(__version__, "-V", "--version", prog_name="netdsl")
def cli() -> None:
    """A compiler for `.net`, a small language for neural-network architectures.

    \b
    Examples:
      netdsl check lenet.net                     shapes, names and counts; nothing is written
      netdsl summary lenet.net                   every layer with its params and MACs
      netdsl compile lenet.net --target all -o . lenet_numpy.py and lenet_torch.py
      netdsl train lenet.net                     train on handwritten digits that come with netdsl
    """


class _Waiting(types.ModuleType):
    """Stands for a module until an attribute of it is asked for (importlib's LazyLoader loads at the next `import`)."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        del sys.modules[self.__name__]
        real = import_module(self.__name__)
        vars(self).update(vars(real))
        return getattr(real, name)


def lazy_numpy() -> None:
    """Let numpy wait until it is used: shapes, counts and text never touch it, and it takes longer to import than a
    spec takes to check."""
    sys.modules.setdefault("numpy", _Waiting("numpy"))


def wants_color() -> bool:
    """Colour only for a person: a terminal, and NO_COLOR not set."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(message: str) -> None:
    """A line on stderr, harmless for the terminal."""
    click.echo(plain(message), err=True)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code; every way to fail ends here."""
    try:
        result = cli.main(args=arguments, prog_name="netdsl", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return 2
    except SpecError as error:
        from netdsl.ground.diagnostics import render_all

        click.echo(render_all(error.diagnostics, wants_color()), err=True)
        return 1
    except UserError as error:
        say(f"error: {error.message}")
        if error.help:
            say(f"help: {error.help}")
        return 2
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return 130
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return _out_of_memory("")
        place = f"`{error.filename}`: " if error.filename else ""
        say(f"error: {place}{(error.strerror or str(error)).lower()}")
        if more := advice(error):
            say(f"help: {more}")
        return 2
    except MemoryError as error:
        return _out_of_memory(str(error))
    except TrainingFailed as error:
        say(f"error: {error}")
        return 3
    except SaidElsewhere as error:
        return error.code
    except Exception as error:
        return _bug(error)


def _out_of_memory(reason: str) -> int:
    """reason: NumPy's, which has the size and the shape of the array."""
    say(f"error: not enough memory{': ' if reason else ''}{reason[:1].lower()}{reason[1:]}")
    say("help: a smaller `--batch` and fewer `--threads` take less; `netdsl summary SPEC` says about how much it is")
    return 2


def _bug(error: Exception) -> int:
    """What nobody foresaw is a bug of netdsl, and is called one."""
    import traceback

    traceback.print_exception(error)
    say(f"netdsl {__version__} has met a bug of its own; please report the lines above together with the spec")
    return 101


def main() -> None:
    """The console script."""
    be_readable()
    code = run()
    if "netdsl.targets.torch.ranks" in sys.modules:
        # of processes that PyTorch joined one in a hundred aborts when its own threads are tidied up, after all is done
        # and saved; torchrun would take that for a failure, and end the others before they have said what came out
        from netdsl.ground.system.processes import end_at_once

        end_at_once(code)
    sys.exit(code)
