"""The compiled core is that of the sources that lie beside the tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from emdarks import _core

SOURCES = Path(__file__).parent.parent / "src" / "core"


def test_the_core_was_built_from_these_sources() -> None:
    hashes = (hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(SOURCES.iterdir()))
    now = hashlib.sha256("".join(hashes).encode()).hexdigest()
    assert _core.sources == now, "the core is older than src/core: make test builds it anew"
