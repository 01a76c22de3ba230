"""The commands, put together."""

from __future__ import annotations

import sys
from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from emdarks.cli import (
    badpixels,
    cameras,
    characterize,
    check,
    console,
    dark,
    inspect,
    library,
    noisemaps,
    plan,
    prepare,
    report,
    simulate,
    subtract,
    synthesize,
)
from emdarks.cli.command import command
from emdarks.cli.settings import WithDefaults


class _Commands(TyperGroup):
    """Commands whose faults of use are told like all other errors: one line, and where help is."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands; groups of commands come last."""
        return sorted(self.commands, key=lambda name: hasattr(self.commands[name], "commands"))

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run a command; errors about its options end in one line and exit code 2."""
        options["standalone_mode"] = False
        if not standalone_mode:
            return super().main(*arguments, **options)
        try:
            code = super().main(*arguments, **options)
        except Exception as error:
            if not isinstance(error, typer.BadParameter.__mro__[1:3]):
                raise
            sys.exit(_told(error))
        sys.exit(code if isinstance(code, int) else 0)


def _told(error: Any) -> int:
    """Say what was wrong with the use, in the way of all errors."""
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    if type(error).__name__ == "NoSuchOption" and context is not None:
        error.possibilities = _alike(error.option_name, context) or error.possibilities
    # Ours are about several options, so that none is named in front.
    own = isinstance(error, typer.BadParameter) and getattr(error, "param", None) is None
    text = (error.message if own else error.format_message()).rstrip(".")
    command = "emdarks" if context is None else context.command_path
    console.say_error(f"{text[:1].lower()}{text[1:]}; see {command} --help")
    return int(error.exit_code)


#: Dashes and letters that the name of an option must share with one that is none.
_SHARED = 5


def _alike(name: str, context: Any) -> list[str]:
    """Options of the command that begin as a name does: with most letters."""
    options = [item.opts for item in context.command.params if item.param_type_name == "option"]
    shared = [max(_letters(name, each) for each in names) for names in options]
    most = max(shared, default=0)
    return [
        "/".join(sorted(names, key=len))
        for names, letters in zip(options, shared, strict=True)
        if letters == most >= _SHARED
    ]


def _letters(one: str, other: str) -> int:
    """How many letters two names share from their beginning."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


app = typer.Typer(
    cls=_Commands,
    name="emdarks",
    help="Dark calibration for EMCCD cameras: dark frames in, master darks and noise maps out.",
    epilog="Exit codes: 0 done, 1 the input is at fault, 2 wrong use, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order of the help, which is that of work.
for function in (
    simulate.simulate,
    inspect.inspect,
    prepare.prepare,
    noisemaps.noisemaps,
    dark.dark,
    synthesize.synthesize,
    subtract.subtract,
    badpixels.badpixels,
    check.check,
    characterize.characterize,
    plan.plan,
    report.report,
    cameras.cameras,
):
    app.command(cls=WithDefaults)(command(function))
app.add_typer(library.app)


def every_command() -> dict[str, Any]:
    """All commands by name; those of a group with its name in front, such as "library add"."""
    found: dict[str, Any] = {}
    top: Any = typer.main.get_command(app)
    for name, each in top.commands.items():
        inner = getattr(each, "commands", None)
        found |= {name: each} if inner is None else {f"{name} {n}": c for n, c in inner.items()}
    return found


def _version(wanted: bool) -> None:
    if wanted:
        from emdarks import __version__

        typer.echo(f"emdarks {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="emdarks")
    except KeyboardInterrupt:
        console.interrupted()
        raise SystemExit(130) from None
    except SystemExit as ended:
        if ended.code == 130:  # before or after a command: those speak for themselves
            console.interrupted()
        raise
