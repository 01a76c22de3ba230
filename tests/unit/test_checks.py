"""The list of checks: complete, each in one stage, and silent where there is nothing to look at."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import emdarks.checks
from emdarks.cameras import load_camera
from emdarks.checks import Finding, registry, thresholds
from emdarks.checks.classify import SortedFrames
from emdarks.checks.context import Context
from emdarks.checks.finding import worst_first
from emdarks.checks.formatting import in_sentences, in_words

STAGES = (registry.HEADERS, registry.FRAMES, registry.STACKS)


def made_by_functions() -> set[str]:
    """Names of the public functions that give findings, with their modules."""
    names = set()
    for module in pkgutil.iter_modules(emdarks.checks.__path__, "emdarks.checks."):
        for name, function in inspect.getmembers(importlib.import_module(module.name)):
            own = inspect.isfunction(function) and function.__module__ == module.name
            if own and inspect.signature(function).return_annotation == "Findings":
                names.add(f"{module.name}.{name}")
    return {name for name in names if not name.split(".")[-1].startswith("_")}


def test_every_check_is_listed() -> None:
    products = (*registry.NOISE_MAPS, *registry.DARK, *registry.BAD_PIXEL_MAP)
    listed = {f"{check.__module__}.{check.__name__}" for check in (*registry.CAMPAIGN, *products)}
    # What can be made is said after all checks, which it depends on.
    assert made_by_functions() == listed | {"emdarks.checks.design.possible_products"}


def test_a_check_of_frames_belongs_to_one_stage() -> None:
    every = [check for stage in STAGES for check in stage]
    assert len(every) == len(set(every)) == len(registry.CAMPAIGN)
    for some in (registry.FIT, registry.AVERAGE, registry.HALF_SPLIT, registry.REFUSED_LATER):
        assert set(some) < set(every)
    assert set(registry.SYNTHESIS) < set(registry.SUBTRACTION) < set(registry.HALF_SPLIT)
    # Before a pixel is read only headers can tell.
    assert set(registry.SUBTRACTION) <= set(registry.HEADERS)


def test_checks_are_silent_where_there_are_no_frames() -> None:
    nothing = Context(load_camera("excam"), SortedFrames(0, (0, 0), [], [], [], []))
    found = registry.find_in_campaign(nothing)
    assert [(finding.severity, finding.topic) for finding in found] == [("problem", "maps")]
    assert registry.find_in_recipe(nothing, registry.FIT) == []


def test_every_threshold_is_used() -> None:
    root = Path(emdarks.checks.__file__).parents[1]
    others = [path for path in root.rglob("*.py") if path.name != "thresholds.py"]
    text = "\n".join(path.read_text() for path in others)
    names = [name for name in vars(thresholds) if name.isupper()]
    assert len(names) > 30
    assert [name for name in names if name not in text] == []


def test_the_worst_comes_first_and_the_order_of_checks_stays() -> None:
    severities = ("fine", "note", "problem", "warning", "problem", "fine")
    found = [Finding(severity, str(i), "") for i, severity in enumerate(severities)]
    assert [finding.topic for finding in worst_first(found)] == ["2", "4", "3", "1", "0", "5"]


def test_a_finding_in_one_line_and_in_sentences() -> None:
    finding = Finding("warning", "light", "2 frames are bright", ("a/b.fits", "c.fits"), "look")
    assert in_words(finding) == "2 frames are bright (b.fits, c.fits); look"
    sentences = in_sentences(finding)
    assert (sentences.text, sentences.remedy) == ("2 frames are bright.", "Look.")
    typed = in_sentences(Finding("note", "frames", "Were they?", remedy="emdarks plan says."))
    assert (typed.text, typed.remedy) == ("Were they?", "emdarks plan says.")
