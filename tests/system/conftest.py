"""Campaigns that several files of this tier share: whoever spoils one links its files first."""

from __future__ import annotations

from pathlib import Path

import pytest
from validation.hostile_campaign import write_good


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The frames of the good campaign, beside its camera file."""
    return write_good(tmp_path_factory.mktemp("good"))
