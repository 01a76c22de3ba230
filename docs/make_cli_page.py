"""Write docs/command_line.md: the help of every command, and its examples with their real output.

Run it with `make cli-page` after a change of the command line. The examples are those of the
help texts, run one after the other in an empty folder.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from astropy.io import fits

from emdarks.cli.app import every_command

PAGE = Path(__file__).parent / "command_line.md"
PICTURE = PAGE.parent / "_static" / "levels.png"
WIDTH = 94
COMMANDS = every_command()

HEAD = """\
# Command line

Everything on this page was printed by the commands themselves: `make cli-page` runs them and
writes it.

Every command takes frames as files, folders, quoted patterns, or `@list.txt`, a text file with
one of these a line; of a folder, products among the frames are left out by their headers.

- Results for machines go to standard output (`--json`), words for people to standard error.
  Keys of JSON are in lower case; units are in their names: `_e` electrons (EM electrons where
  they are levels, noise or offsets), `_s` seconds, `_c` degrees Celsius, `_dn` DN, `_mjd` days.
- `--quiet` leaves warnings and errors, `--verbose` adds every file of a finding, time, memory
  and the tracebacks of errors.
- Commands that stream frames show how far they are: a bar on a terminal, a line every five
  seconds in a log.
- Files appear whole or not at all, and nothing is replaced without `--overwrite`. Ctrl-C
  leaves whole files.
- Exit codes: 0 done, 1 the input is at fault (one line says which file, what is wrong and what
  to do), 2 wrong use, 130 interrupted.
- `emdarks --install-completion` makes the shell complete commands and options.
"""


class Shell:
    """Runs commands in a folder as on a terminal without colours, by a user of no machine."""

    SETTINGS: ClassVar = {
        "COLUMNS": str(WIDTH),
        "TTY_COMPATIBLE": "1",
        "TTY_INTERACTIVE": "0",
        "LOGNAME": "user",
    }

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, line: str, code: int = 0) -> str:
        """What a command printed; it must exit with a code."""
        made = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)],
            cwd=self.folder,
            env=os.environ | self.SETTINGS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if made.returncode != code:
            raise SystemExit(f"{line}\nended with {made.returncode}, not {code}:\n{made.stdout}")
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", made.stdout)
        text = text.replace(f"{self.folder}/", "")
        return "\n".join(each.rstrip() for each in text.splitlines()).strip("\n")

    def shown(self, line: str, code: int = 0, most: int = 60) -> str:
        """The same below its prompt, as a block of the page."""
        lines = self(line, code).splitlines()
        if len(lines) > most:
            lines = [*lines[:most], f"... ({len(lines) - most} more lines)"]
        ending = ["$ echo $?", str(code)] if code else []
        return "\n".join(["```text", f"$ {line}", *lines, *ending, "```"])


def examples(name: str) -> list[str]:
    """Examples in the help of a command."""
    text = " ".join((COMMANDS[name].help or "").split())
    return re.findall(r"Example: (emdarks .*?)(?= Example:|$)", text)


def sections(shell: Shell) -> Iterator[str]:
    yield HEAD
    yield shell.shown("emdarks --help")
    for name in COMMANDS:
        yield f"## emdarks {name}"
        yield shell.shown(f"emdarks {name} --help", most=200)
        for line in examples(name):
            yield shell.shown(line)
    yield "## Bad frames"
    yield (
        "The campaign from above, with light on two frames, one frame repeated, one saturated and "
        "one warm ([what findings mean](howto_inspect.md)):"
    )
    spoil(sorted((shell.folder / "darks").glob("cgi_*.fits")))
    yield shell.shown("emdarks inspect darks/ --plot levels.png --overwrite", 1)
    shutil.copy(shell.folder / "levels.png", PICTURE)
    yield f"![Levels of the frames of each stack, odd ones marked](_static/{PICTURE.name})"
    yield (
        "A frame that makes the product wrong is refused, or left out and listed in the product "
        "([what is promised](validation_hostile.md)):"
    )
    yield shell.shown("emdarks noisemaps darks/ -o good.fits", 1)
    yield shell.shown("emdarks noisemaps darks/ -o good.fits --skip-bad-frames")
    yield "## For programs, and when something is wrong"
    dark = "emdarks dark darks/ -o d.fits --gain 50 --exptime 10"
    yield shell.shown(f"{dark} --json --quiet")
    yield shell.shown(f"{dark} --json --quiet", 1)
    yield shell.shown("emdarks noisemaps darks/ -o m.fits --estimator guess", 2)


def spoil(paths: list[Path]) -> None:
    """Plant defects; twenty frames of a stack."""

    def shine(image: Any, dq: Any, header: Any) -> None:
        image[:103, 108:215] += 10.0

    def fill(image: Any, dq: Any, header: Any) -> None:
        image[:103, 108:215] = 105_000 / 8.7
        dq[:103, 108:215] |= 32

    def warm(image: Any, dq: Any, header: Any) -> None:
        header["EXCAMT"] = -86.5

    with fits.open(paths[64]) as hdus:
        pixels, flags = np.array(hdus[1].data), np.array(hdus["DQ"].data)

    def repeat(image: Any, dq: Any, header: Any) -> None:
        image[:], dq[:] = pixels, flags

    for number, change in ((7, shine), (8, shine), (65, repeat), (30, fill), (110, warm)):
        change_file(paths[number], change)


def change_file(path: Path, change: Callable[[Any, Any, Any], None]) -> None:
    with fits.open(path, mode="update", memmap=False) as hdus:
        change(hdus[1].data, hdus["DQ"].data, hdus[1].header)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = "\n\n".join(sections(Shell(Path(folder))))
    PAGE.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
