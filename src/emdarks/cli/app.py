"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from emdarks.cli import badpixels, cameras, campaign, check, plan, products, report, subtract, talk
from emdarks.cli.common import with_common
from emdarks.cli.settings import WithDefaults

__all__ = ["app", "main"]

app = typer.Typer(
    name="emdarks",
    help="Dark calibration for EMCCD cameras: dark frames in, master darks and noise maps out.",
    epilog="Exit codes: 0 done, 1 the input is at fault, 2 wrong use, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order of the help, which is that of work.
for command in (
    campaign.simulate,
    campaign.inspect,
    products.noisemaps,
    products.dark,
    products.synthesize,
    subtract.subtract,
    badpixels.badpixels,
    check.check,
    plan.plan,
    report.report,
    cameras.cameras,
):
    app.command(cls=WithDefaults)(with_common(command))


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
        talk.interrupted()
        raise SystemExit(130) from None
    except SystemExit as ended:
        if ended.code == 130:  # before or after a command: those speak for themselves
            talk.interrupted()
        raise
