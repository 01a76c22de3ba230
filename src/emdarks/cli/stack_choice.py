"""Which stack, where a command needs one and the frames are of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.table import Table

from emdarks.cli import console
from emdarks.errors import SeveralStacksError


@contextmanager
def one_stack_of_several() -> Iterator[None]:
    """Where frames are of several stacks, show these with the options that choose each."""
    try:
        yield
    except SeveralStacksError as error:
        stacks = error.stacks
    else:
        return
    settings = {(stack.commanded_gain, stack.exposure_time) for stack in stacks}
    console.show(choice_table(stacks))
    if len(settings) == len(stacks):
        how = "add the options of one of them"
    else:
        how = "some differ in k-gain only, which no option chooses: name the files of one of them"
    known = "; ".join(choice(stack) for stack in stacks)
    console.wrong_use(
        f"a dark is made of one stack, and these frames are {len(stacks)}: {how} ({known})"
        if console.is_quiet()
        else f"a dark is made of one stack, and these frames are {len(stacks)}: {how}"
    )


def choice(stack: Any) -> str:
    """The options that choose a stack, in digits that name it exactly."""
    return f"--gain {stack.commanded_gain:.12g} --exptime {stack.exposure_time:.12g}"


def choice_table(stacks: Sequence[Any]) -> Table:
    """A row for each stack, with the options that choose it.

    Parameters
    ----------
    stacks : sequence of Stack
        The stacks.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    several = len({stack.k_gain for stack in stacks}) > 1
    for title in ("EM gain", "time, s", *(("k-gain",) if several else ()), "frames"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("options to add", no_wrap=True)
    for stack in stacks:
        table.add_row(
            f"{stack.commanded_gain:g}",
            f"{stack.exposure_time:g}",
            *((f"{stack.k_gain:g}",) if several else ()),
            str(len(stack.frames)),
            choice(stack),
        )
    return table
