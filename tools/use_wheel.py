"""What users do with an installed emdarks, on the campaign that comes with it.

python tools/use_wheel.py

Ends with an error where a result is wrong; prints what was used and how long it took.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from emdarks import (
    Dataset,
    _core,
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    mean_combine,
)
from emdarks.data import sample


def main() -> None:
    """Call the four functions and the commands of a first session."""
    start = time.perf_counter()
    stack = Dataset(sample()[12:16])
    mean, all_bad, counts, _ = mean_combine(stack, None)
    pixels = np.array([frame.data for frame in stack])
    good = np.array([frame.dq for frame in stack]) == 0
    by_numpy = np.where(good, pixels, 0).sum(axis=0) / np.maximum(good.sum(axis=0), 1)
    np.testing.assert_allclose(mean, by_numpy, rtol=1e-12)
    np.testing.assert_array_equal(counts, good.sum(axis=0))
    np.testing.assert_array_equal(all_bad, ~good.any(axis=0))

    traditional = build_trad_dark(stack, None)
    maps = calibrate_darks_lsq(Dataset(sample()), None)
    synthesised = build_synthesized_dark(stack, maps)
    both = np.isfinite(traditional.data) & (traditional.dq == 0) & (synthesised.dq == 0)
    error = np.hypot(traditional.err[0], synthesised.err[0])[both]
    pulls = (traditional.data - synthesised.data)[both] / error
    assert both.mean() > 0.9, f"{both.mean():.0%} of the pixels have both darks"
    assert abs(np.median(pulls)) < 0.3, f"darks differ by {np.median(pulls)} errors"

    with tempfile.TemporaryDirectory() as folder:
        product, page = Path(folder) / "maps.fits", Path(folder) / "report.html"
        maps.save(folder, product.name)
        frames = str(sample()[0].parent)
        command = [sys.executable, "-m", "emdarks", "report", str(product), "-o", str(page)]
        subprocess.run([*command, "--frames", frames], check=True)
        assert page.stat().st_size > 100_000
    print(
        f"Python {sys.version.split()[0]}, {_core.__file__}, level {_core.level}: the four "
        f"functions and a report in {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
