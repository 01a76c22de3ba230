"""The command line: the only place that knows Typer and Rich.

Commands are short: they name frames, call a public function, save and say what
they did. Results for machines go to standard output, words for people to standard
error. Nothing heavy is imported before a command runs.
"""

from emdarks.cli.app import main

__all__ = ["main"]
