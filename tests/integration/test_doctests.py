"""Examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import emdarks
from loops import for_each

ROOT = Path(emdarks.__file__).parent


def modules_with_examples() -> list[str]:
    return [
        ".".join(("emdarks", *path.relative_to(ROOT).with_suffix("").parts))
        for path in sorted(ROOT.rglob("*.py"))
        if ">>> " in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert tried > 0
    assert failed == 0


@for_each(
    "function",
    [
        emdarks.calibrate_darks_lsq,
        emdarks.build_trad_dark,
        emdarks.build_synthesized_dark,
        emdarks.mean_combine,
        emdarks.inspect_campaign,
        emdarks.check_darks,
        emdarks.load_camera,
        emdarks.Dataset,
    ],
)
def test_what_users_call_has_an_example(function: object) -> None:
    assert ">>> " in (function.__doc__ or "")
