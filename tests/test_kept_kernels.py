"""Compiled code on disk: files that were mixed up do no harm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KERNEL = """
import sys
import numpy as np
from emdarks.kernels._jit import jit

@jit
def total(x):
    s = 0.0
    for i in range(x.size):
        s += x[i]
    return s

if __name__ == "__main__":
    from kernel import total
    found = [total(np.arange(5, dtype=name)) for name in sys.argv[1:]]
    print(found, sum(total.stats.cache_hits.values()))
"""


def run(folder: Path, *types: str) -> str:
    made = subprocess.run(
        [sys.executable, str(folder / "kernel.py"), *types],
        env=os.environ | {"NUMBA_CACHE_DIR": str(folder / "kept"), "NUMBA_DISABLE_JIT": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def test_code_for_other_types_is_not_taken(tmp_path: Path) -> None:
    """As two processes leave it that save code for different types at the same time."""
    (tmp_path / "kernel.py").write_text(KERNEL)
    assert run(tmp_path, "f4", "i4") == "[10.0, 10.0] 0"
    assert run(tmp_path, "f4", "i4") == "[10.0, 10.0] 2"
    one, other = sorted((tmp_path / "kept").rglob("*.nbc"))
    one.rename(one.with_suffix(".x"))
    other.rename(one)
    one.with_suffix(".x").rename(other)
    assert run(tmp_path, "f4", "i4") == "[10.0, 10.0] 0"
    assert run(tmp_path, "f4", "i4") == "[10.0, 10.0] 2"
