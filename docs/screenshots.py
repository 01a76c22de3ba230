"""Screenshots of reports for the documentation, made from scratch.

Simulates two campaigns of one small detector that has aged in between, fits both, reports
on them and on a photon-counted dark, characterizes a camera with charge of the register and
telegraph pixels, and has a browser (Chromium) draw the sections that docs/report.md and
docs/howto_characterize.md show. Writes docs/_static/report_*.png and datasheet_*.png. Run it with
`make screenshots`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageChops

from emdarks import characterize, plots
from emdarks.darks import build_photon_counted_dark, calibrate_darks_lsq
from emdarks.data import Dataset
from emdarks.errors import EmdarksWarning
from emdarks.frames import select_frames
from emdarks.report import Page, report_on
from emdarks.report.datasheet import datasheet_page
from emdarks.simulate import Effects, multiply, simulate_campaign

OUTPUT = Path(__file__).resolve().parent / "_static"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip
WIDTH, HEIGHT = 1120, 3000
#: Frames of each stack, in each of the two campaigns.
FRAMES = 60
#: Largest file, bytes.
LARGEST = 300_000

CAMPAIGN = ("campaign", "sequence")
MAPS = ("summary", "maps", "histograms", "quality", "stacks", "hot", "systematics", "check",
        "comparison", "provenance")  # fmt: skip
COUNTED = ("counting",)
#: Of a data sheet; the first one is its table.
DATASHEET = ("summary", "drift", "telegraph")


def make_pages(folder: Path) -> tuple[Page, Page]:
    """Reports on the later campaign and on its maps."""
    simulate_campaign(folder / "darks", "excam-small", 2 * FRAMES, 11, threads=2)
    everything = select_frames([str(folder / "darks")])
    number = np.arange(len(everything)) % (2 * FRAMES)
    earlier = everything[number < FRAMES]
    later = aged(everything[number >= FRAMES])
    old, new = calibrate_darks_lsq(earlier, None), calibrate_darks_lsq(later, None)
    old.filename, new.filename = "maps_2026.fits", "maps_2027.fits"
    campaign = report_on(later, name="darks_2027")
    return campaign, report_on(new, against=old, frames=later)


def counted_page(folder: Path) -> Page:
    """Report on a photon-counted dark."""
    stack = [(5000.0, 10.0, 200)]
    made = simulate_campaign(folder / "counted", "excam-small", seed=9, stacks=stack, threads=2)
    return report_on(build_photon_counted_dark(Dataset(made.paths)))


def datasheet(folder: Path) -> Page:
    """Data sheet of a camera with charge of the register and telegraph pixels."""
    effects = Effects(register_charge=0.002, telegraph=0.001)
    stacks = [(gain, time, FRAMES) for gain in (1.0, 50.0, 1000.0, 5000.0) for time in (2.0, 100.0)]
    made = simulate_campaign(
        folder / "camera", "excam-small", seed=12, stacks=stacks, effects=effects, threads=2
    )
    return datasheet_page(characterize(Dataset(made.paths), name="camera 1"))


def aged(frames: Dataset) -> Dataset:
    """Frames of an older detector: more dark current, and 40 pixels that became hot."""
    rng = np.random.default_rng(1)
    images = []
    row, col = rng.integers(5, 100, 40), rng.integers(115, 205, 40)
    for frame in frames:
        header = frame.ext_hdr
        rate = np.zeros(frame.data.shape)
        rate[:106, 108:215] = 1e-4
        rate[row, col] += 0.3
        electrons = multiply(rng.poisson(rate * header["EXPTIME"]), header["EMGAIN_C"], rng)
        image = frame.copy()
        image.data = frame.data + electrons / header["KGAINPAR"]
        images.append(image)
    return Dataset(images)


def shoot(browser: str, page: Page, key: str, folder: Path) -> bytes:
    """One section of a page, as a PNG file, without what is empty around it."""
    others = f"main > :not(#{key})" + ", header" * (key == "summary")
    style = f"{others} {{ display: none }} #{key} {{ margin: 0; border: 0; padding: 0 }}"
    style += " body { background: #fff } main { border: 0; padding: 14px 20px }"
    path = folder / "shot.html"
    path.write_text(page.html().replace("</style>", f"{style}</style>"), encoding="utf-8")
    png = folder / "shot.png"
    subprocess.run(
        [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--screenshot={png}",
         f"--window-size={WIDTH},{HEIGHT}", path.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return trimmed(png)


def trimmed(path: Path) -> bytes:
    """The picture without white rows at the end, in few colours."""
    image = PIL.Image.open(path).convert("RGB")
    white = PIL.Image.new("RGB", image.size, "white")
    box = PIL.ImageChops.difference(image, white).getbbox()
    if box is None:
        raise SystemExit(f"{path}: is empty; did the browser draw it?")
    image = image.crop((0, 0, WIDTH, min(box[3] + 14, HEIGHT)))
    return plots.fewer_colours(image, 200)


def main() -> int:
    """Make all screenshots."""
    parser = argparse.ArgumentParser(description="Screenshots of reports for the documentation.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder (docs/_static)")
    options = parser.parse_args()
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if browser is None:
        print(f"screenshots need a browser: one of {', '.join(BROWSERS)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        folder = Path(temporary)
        campaign, maps = make_pages(folder)
        pages = (
            ("report", campaign, CAMPAIGN),
            ("report", maps, MAPS),
            ("report", counted_page(folder), COUNTED),
            ("datasheet", datasheet(folder), DATASHEET),
        )
        for kind, page, keys in pages:
            for key in keys:
                name = f"{kind}_{key}.png"
                png = shoot(browser, page, key, folder)
                if len(png) > LARGEST:
                    raise SystemExit(f"{name}: has {len(png)} bytes, too many")
                (options.output / name).write_bytes(png)
                print(f"{name}  {len(png) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
