"""What all commands have in common: help, JSON, loudness, progress, Ctrl-C, completion."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from rich.console import Console
from typer.testing import CliRunner

from emdarks.accumulate import Threads
from emdarks.cli import console
from emdarks.cli.app import app, every_command
from emdarks.cli.options import Execution
from emdarks.cli.prologue import streaming
from emdarks.darks import build_trad_dark, calibrate_darks_lsq
from emdarks.data import Dataset, sample

pytestmark = pytest.mark.usefixtures("coarse_pictures")

COMMANDS = every_command()


def run(*arguments: Any, **options: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


@pytest.fixture(autouse=True)
def _normal() -> Iterator[None]:
    yield
    console.set_loudness(console.Loudness.NORMAL)


@pytest.fixture(scope="module")
def darks() -> str:
    return str(sample()[0].parent)


def examples(name: str) -> list[str]:
    text = " ".join((COMMANDS[name].help or "").split())
    return re.findall(r"Example: (emdarks .*?)(?= Example:|$)", text)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_examples_that_can_be_typed(name: str) -> None:
    assert examples(name)
    for example in examples(name):
        words = ["emdarks", *name.split()]
        typed = shlex.split(example)
        assert typed[: len(words)] == words
        # Whole on one line of a terminal of 80 columns.
        assert len(example) <= 70
        # Unknown options, and values of the wrong kind, are refused here.
        COMMANDS[name].make_context(name, typed[len(words) :])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_the_common_options(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--verbose", "-v", "--quiet", "-q", "--json"} <= options
    words = name.split()
    typed = shlex.split(examples(name)[0])[1 + len(words) :]
    both = run(*words, "--verbose", "--quiet", *typed)
    assert both.exit_code == 2


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


def test_json_of_all_commands_has_keys_of_one_style(darks: str, tmp_path: Path) -> None:
    maps = tmp_path / "maps.fits"
    one_stack = ("--gain", "1000", "--exptime", "60")
    lines = [
        ("simulate", tmp_path / "new", "--camera", "excam-sample", "--frames", 1),
        ("inspect", darks),
        ("noisemaps", darks, "-o", maps),
        ("dark", darks, "-o", tmp_path / "dark.fits", *one_stack),
        ("synthesize", maps, "-o", tmp_path / "synthetic.fits", *one_stack),
        ("check", darks),
        ("plan", "--frames", 10),
        ("plan", "--budget", 1e5),
    ]
    found: dict[str, set[str]] = {}
    for line in lines:
        outcome = run(*line, "--json", "--quiet")
        assert outcome.exit_code == 0, outcome.output
        assert len(outcome.stdout.splitlines()) == 1
        found[line[0]] = set(keys(json.loads(outcome.stdout)))
    for name, names in found.items():
        assert not [key for key in names if not re.fullmatch(r"[a-z][a-z0-9_]*", key)], name
    # The same thing has the same name everywhere.
    for name in ("inspect", "dark", "synthesize", "check", "plan"):
        assert {"em_gain", "exposure_time_s"} <= found[name], name
    for name in ("simulate", "inspect", "noisemaps", "plan"):
        assert {"frames", "stacks"} <= found[name], name


def test_quiet_and_verbose(darks: str, tmp_path: Path) -> None:
    quiet = run("inspect", darks, "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")
    useless = run("inspect", *sample()[:4], "-q")
    assert (useless.exit_code, useless.stdout) == (1, "")
    assert useless.stderr.startswith("problem  noise maps cannot be fitted: ")
    assert "note" not in useless.stderr
    assert "verdict" not in useless.stderr
    wrong = run("inspect", tmp_path, "-q")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("error: ")
    assert "Traceback" not in wrong.stderr
    verbose = run("inspect", darks, "-v").stderr
    assert "inspecting 24 frames with" in verbose
    assert re.search(r"took [\d.]+ s, \d+ MB of memory at most", verbose)
    assert "Traceback" in run("inspect", tmp_path, "-v").stderr
    # The next command is as loud as ever.
    assert "verdict" in run("inspect", darks).stderr
    assert run("plan", "-q", "--frames", 10).output == ""


def test_long_lists_of_files_are_cut_unless_all_are_asked_for() -> None:
    names = [f"/data/frame{number}.fits" for number in range(5)]
    assert console.file_names(names) == "frame0.fits, frame1.fits, frame2.fits and 2 more"
    assert console.file_names(names, None).count("fits") == 5
    assert console.file_names(names[:3]).endswith("frame2.fits")


def test_findings_stand_beside_their_label_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=screen, force_terminal=True, width=40))
    console.finding("warning", "one two three four five six seven eight nine", "do", ["/a/b.fits"])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()
    assert lines[0].startswith("warning  one two three")
    assert all(len(line) <= 40 for line in lines)
    assert all(line.startswith(" " * 9) for line in lines[1:])
    assert [line.strip() for line in lines[-2:]] == ["b.fits", "-> do"]


# Progress


def test_executor_tells_of_each_block() -> None:
    seen: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        seen.append((done, total))

    darks = Dataset(sample())
    plain = calibrate_darks_lsq(darks, None, executor=Threads(1))
    counted = calibrate_darks_lsq(darks, None, executor=Threads(2, progress=told))
    assert seen == [(done, 24) for done in range(4, 25, 4)]
    np.testing.assert_array_equal(plain.data, counted.data)


class Clock:
    """Time that passes as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 100.0
        monkeypatch.setattr(console.time, "monotonic", lambda: self.now)


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    log = StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=log, width=200))
    clock = Clock(monkeypatch)
    with console.progress("reading", "frames") as advance:
        for done in range(1, 41):
            clock.now += 1.0
            advance(done, 40)
    lines = log.getvalue().splitlines()
    assert lines[0] == "reading: 5 of 40 frames, 1/s, 35 s left"
    assert lines[-1] == "reading: 40 frames in 40 s, 1/s"
    assert len(lines) == 8
    log.truncate(0)
    with console.progress("reading", "frames") as advance:
        clock.now += 4.0
        advance(2, 2)
    assert log.getvalue().strip("\0") == ""


def test_nothing_of_progress_where_quiet_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    log = StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=log, force_terminal=True, width=200))
    console.set_loudness(console.Loudness.QUIET)
    with console.progress("reading", "frames") as advance:
        advance(1, 2)
    assert log.getvalue() == ""


def test_a_terminal_shows_rate_and_what_comes_then(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "stderr", Console(file=screen, force_terminal=True, width=100))
    with streaming(Execution(threads=1), "reading", 4, "fitting") as executor:
        build_trad_dark(Dataset(sample()[:4]), None, executor=executor)
        time.sleep(0.25)
    text = screen.getvalue()
    assert "fitting" in text
    assert "4/4" in text
    assert "/s" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.123, "0.12 s"), (7.31, "7.3 s"), (42.4, "42 s"), (125, "2 min 5 s"), (12000, "3 h 20 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert console.duration(seconds) == words


# Interruption


def test_interruption_says_one_line_and_leaves_whole_files(tmp_path: Path) -> None:
    folder = tmp_path / "darks"
    command = [sys.executable, "-m", "emdarks", "simulate", str(folder), "--frames", "500"]
    process = subprocess.Popen(
        [*command, "--size", "small", "--threads", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(list(folder.glob("cgi_*.fits"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines() == ["interrupted; no file was left half written"]
    names = sorted(path.name for path in folder.iterdir())
    frames = [name for name in names if name.startswith("cgi_")]
    assert 3 <= len(frames) < 3000
    assert set(names) - set(frames) == {"campaign.toml", "truth.fits"}
    for name in frames:
        with fits.open(folder / name, checksum=True) as hdus:
            hdus.verify("exception")
            assert hdus["DQ"].data.shape == (120, 220)


@pytest.mark.parametrize("command", ["noisemaps", "dark"])
def test_an_interrupted_product_is_not_written(
    command: str, darks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Threads, *rest: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Threads, "_accumulate", stop)
    monkeypatch.setattr(console, "_interrupted", False)
    outcome = run(command, darks, "-o", tmp_path / "x.fits", "--quiet", *(
        ("--gain", "1000", "--exptime", "60") if command == "dark" else ()
    ))  # fmt: skip
    assert outcome.exit_code == 130
    assert outcome.stderr.splitlines()[-1] == "interrupted; no file was left half written"
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_said_in_one_line(
    darks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Threads, *rest: Any) -> None:
        np.empty(1 << 62, np.uint8)

    monkeypatch.setattr(Threads, "_accumulate", fail)
    outcome = run("noisemaps", darks, "-o", tmp_path / "x.fits", "--quiet")
    assert outcome.exit_code == 1
    line = outcome.stderr.splitlines()[-1]
    assert line.startswith("error: there is not enough memory (Unable to allocate ")
    assert line.endswith("give the job more, fewer stacks, or fewer --threads")
    assert list(tmp_path.iterdir()) == []


# Completion


def complete(words: str) -> list[str]:
    made = subprocess.run(
        [sys.executable, "-m", "emdarks"],
        env=os.environ
        | {
            "_EMDARKS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
    )
    return made.stdout.split()


def test_the_shell_completes_commands_and_options() -> None:
    assert complete("emdarks ins") == ["inspect"]
    assert {name.split()[0] for name in COMMANDS} == set(complete("emdarks "))
    assert "--mask-bits" in complete("emdarks inspect --ma")
    assert complete("emdarks simulate d --size s") == ["small"]


def test_completion_can_be_shown_and_installed(tmp_path: Path) -> None:
    environment = os.environ | {
        "HOME": str(tmp_path),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    program = [sys.executable, "-m", "emdarks"]
    shown = subprocess.run(
        [*program, "--show-completion", "bash"], env=environment, capture_output=True, text=True
    )
    assert "_EMDARKS_COMPLETE=complete_bash" in shown.stdout
    made = subprocess.run(
        [*program, "--install-completion", "bash"], env=environment, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert "_EMDARKS_COMPLETE" in (tmp_path / ".bash_completions" / "emdarks.sh").read_text()


def test_words_of_errors_are_not_broken_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    said = StringIO()
    narrow = Console(file=said, force_terminal=True, width=31, soft_wrap=True, color_system=None)
    monkeypatch.setattr(console, "stderr", narrow)
    reason = "a dark is made of one stack, and these frames are of several"
    console.say_error(reason)
    lines = said.getvalue().splitlines()
    assert len(lines) == 3
    assert " ".join(" ".join(lines).split()) == f"error: {reason}"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("--outfile", "-o/--output"),
        ("--skip-bad", "--skip-bad-frames"),
        ("--gain-sorce", "--gain-source"),
    ],
)
def test_an_option_that_is_none_leads_to_those_that_begin_alike(wrong: str, right: str) -> None:
    result = run("noisemaps", "darks", wrong, "x")
    assert result.exit_code == 2
    assert f"no such option: {wrong}" in result.stderr
    assert right in result.stderr
    assert "--quiet" not in result.stderr


def test_what_begins_like_no_option_is_compared_as_ever() -> None:
    assert "--quiet" in run("noisemaps", "darks", "--qiet").stderr
