"""The small campaign that comes with the package: how it was made."""

from __future__ import annotations

import gzip
from pathlib import Path

from emdarks.cameras import Camera, load_camera
from emdarks.fits import whole_file
from emdarks.simulate.campaign import DEFAULT_STACKS, CampaignFiles, simulate_campaign

SAMPLE_SEED = 20260101
SAMPLE_STACKS = DEFAULT_STACKS
#: Frames of each stack.
SAMPLE_FRAMES = 4


def sample_camera() -> Camera:
    """EXCAM with frames of 40 x 62 pixels: the built-in camera ``excam-sample``."""
    return load_camera("excam-sample")


def write_sample(
    directory: str | Path, *, compress: bool = False, overwrite: bool = False
) -> CampaignFiles:
    """Make the bundled campaign again: `SAMPLE_STACKS`, `SAMPLE_FRAMES`, `SAMPLE_SEED`.

    Pixels and headers are the same every time (CHECKSUM comments carry the date).

    Parameters
    ----------
    directory : str or Path
        The folder, made if it is missing.
    compress : bool
        Gzip the frames and the truth (``.fits.gz``): about 0.3 MB instead of 1.3.
    overwrite : bool
        As in `simulate_campaign`; compressed files are replaced, too.

    Returns
    -------
    CampaignFiles

    Raises
    ------
    InputError
        As `simulate_campaign`.
    """
    files = simulate_campaign(
        directory,
        sample_camera(),
        frames=SAMPLE_FRAMES,
        seed=SAMPLE_SEED,
        stacks=SAMPLE_STACKS,
        overwrite=overwrite,
    )
    if not compress:
        return files
    return files._replace(
        paths=tuple(_gzip(path) for path in files.paths), truth_path=_gzip(files.truth_path)
    )


def _gzip(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    with whole_file(packed) as file:
        file.write(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()
    return packed
