"""Ctrl-C while the command is still being imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

# Interrupts itself when the module is imported.
_PROGRAM = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from emdarks.__main__ import main
sys.argv = ["emdarks", "--version"]
main()
"""


@pytest.mark.parametrize("module", ["typer", "rich.console", "emdarks.cli.app"])
def test_an_interrupted_import_says_nothing(module: str) -> None:
    program = _PROGRAM.format(module=module)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")


def test_ctrl_c_is_heard_after_the_imports() -> None:
    program = _PROGRAM.format(module="emdarks.nothing") + "\nos.kill(os.getpid(), signal.SIGINT)"
    program = program.replace("main()\n", "try:\n    main()\nexcept SystemExit:\n    pass\n", 1)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=False
    )
    assert b"KeyboardInterrupt" in ended.stderr
    assert os.fsdecode(ended.stdout).startswith("emdarks ")
