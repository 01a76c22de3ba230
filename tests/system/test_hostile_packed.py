"""Damaged tile-compressed frames and bad planes of cubes: refused, or left out alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from validation.hostile_run import Outcome, invoke, same_planes

from emdarks.fits import unpacked

Array = npt.NDArray[Any]

pytestmark = pytest.mark.filterwarnings("default::emdarks.errors.EmdarksWarning")

#: The first 18 frames stay files of their own; the others make a stack.
FIRST, ALL = 18, 24


def folder_of(frames: list[Path], folder: Path) -> Path:
    folder.mkdir()
    for path in frames:
        shutil.copy(path, folder)
    return folder


def noise_maps(frames: Path, good: list[Path], *options: str) -> Outcome:
    camera = ["--camera", str(good[0].parent / "camera.toml")]
    output = frames.parent / f"{frames.name}.fits"
    return invoke(["noisemaps", str(frames), "-o", str(output), *camera, *options], frames.parent)


def skipped(outcome: Outcome) -> list[str]:
    assert outcome.product is not None, outcome
    with fits.open(outcome.product) as hdus:
        return list(unpacked(hdus["SKIPPED"]).data["FILENAME"])


# ------------------------------------------------------------------------ tile compression


def compressed(frame: Path, target: Path, method: str) -> None:
    with fits.open(frame, memmap=False) as hdus:
        whole = method == "HCOMPRESS_1"
        data = hdus[1].data.astype(np.int32) if whole else hdus[1].data
        image = fits.CompImageHDU(data, hdus[1].header, compression_type=method)
        flags = fits.CompImageHDU(hdus["DQ"].data, name="DQ", compression_type="RICE_1")
        fits.HDUList([hdus[0], image, hdus["ERR"], flags]).writeto(target)


def places(path: Path, hdu: int) -> tuple[int, int, int]:
    """Where the descriptors of tiles begin, and the tiles, and how long these are."""
    with fits.open(path, disable_image_compression=True) as hdus:
        start, header = hdus[hdu].fileinfo()["datLoc"], hdus[hdu].header
        return start, start + header["NAXIS1"] * header["NAXIS2"], header["PCOUNT"]


def poke(path: Path, at: int, content: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[at : at + len(content)] = content
    path.write_bytes(whole)


def card(path: Path, keyword: str, value: str) -> None:
    at = path.read_bytes().index(f"{keyword:<8}= ".encode())
    poke(path, at, f"{keyword:<8}= {value:>20}".encode())


def tiles(hdu: int, content: bytes) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        _, start, length = places(path, hdu)
        poke(path, start + 5, (content * length)[: length - 5])

    return spoil


def descriptor(content: bytes) -> Callable[[Path], None]:
    return lambda path: poke(path, places(path, 1)[0], content)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "tiles": (tiles(1, b"\xff"), "cannot be unpacked"),
    "tiles of DQ": (tiles(3, b"\x0f"), "cannot be unpacked"),
    "a tile beyond the file": (descriptor(b"\x7f\xff\xff\xff\0\0\0\5"), "cannot be unpacked"),
    "a tile of negative length": (descriptor(b"\xff" * 7 + b"\5"), "cannot be unpacked"),
    "tiles without columns": (lambda path: card(path, "ZTILE1", "0"), "compressed tiles"),
    "tiles of negative size": (lambda path: card(path, "ZTILE2", "-3"), "compressed tiles"),
    "too few tiles": (lambda path: card(path, "ZTILE1", "20"), "compressed tiles"),
    "an unknown method": (lambda path: card(path, "ZCMPTYPE", "'NO'"), "cannot be unpacked"),
}


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_compressed_frame(
    good: list[Path], tmp_path: Path, method: str, damage: str
) -> None:
    frames = folder_of(good[:20] + good[21:], tmp_path / "frames")
    bad = frames / "frame_20.fits.fz"
    compressed(good[20], bad, method)
    spoil, words = DAMAGES[damage]
    spoil(bad)
    refused = noise_maps(frames, good)
    assert (refused.exit_code, refused.escaped, refused.written) == (1, "", ())
    assert refused.message.startswith(f"error: {bad}: ")
    assert words in refused.message
    # `invoke` makes errors of NumPy's warnings, and those would be caught as damage.
    assert "encountered in" not in refused.message
    left_out = noise_maps(frames, good, "--skip-bad-frames")
    assert (left_out.exit_code, skipped(left_out)) == (0, [bad.name])
    others = noise_maps(folder_of(good[:20] + good[21:], tmp_path / "others"), good)
    assert left_out.product is not None
    assert others.product is not None
    assert same_planes(left_out.product, others.product)


def test_tiles_that_do_not_make_the_image(good: list[Path], tmp_path: Path) -> None:
    frames = folder_of(good[:20] + good[21:], tmp_path / "frames")
    bad = frames / "frame_20.fits.fz"
    compressed(good[20], bad, "GZIP_1")
    card(bad, "ZTILE1", "20")
    outcome = noise_maps(frames, good)
    assert outcome.message.startswith(f"error: {bad}: HDU 1 has 23 compressed tiles, which do not")


def test_a_compression_that_may_end_the_process_is_refused(
    good: list[Path], tmp_path: Path
) -> None:
    """Random bytes in a tile of HCOMPRESS_1 let the decompression write beyond its memory."""
    frames = folder_of(good[:20] + good[21:], tmp_path / "frames")
    bad = frames / "frame_20.fits.fz"
    compressed(good[20], bad, "HCOMPRESS_1")
    outcome = noise_maps(frames, good)
    assert outcome.message.startswith(f"error: {bad}: HDU 1 is compressed by HCOMPRESS_1, which")


# ---------------------------------------------------------------------------------- cubes


def constant(data: Array) -> None:
    data[2] = 100.0


def copied(data: Array) -> None:
    data[4] = data[1]


def cube(frames: list[Path], target: Path, method: str | None, spoil: Any = None) -> None:
    planes: dict[str, list[Array]] = {"image": [], "DQ": []}
    for path in frames:
        with fits.open(path, memmap=False) as hdus:
            planes["image"].append(hdus[1].data.copy())
            planes["DQ"].append(hdus["DQ"].data.copy())
            header, primary = hdus[1].header.copy(), hdus[0].copy()
    data, flags = np.array(planes["image"]), np.array(planes["DQ"])
    if spoil is not None:
        spoil(data)
    image: Any = fits.ImageHDU(data, header)
    if method is not None:
        # Quantised pixels would be others than those of the files.
        image = fits.CompImageHDU(data, header, compression_type=method, quantize_level=0)
    err = fits.ImageHDU(np.zeros((1, *data.shape), np.float32), name="ERR")
    fits.HDUList([primary, image, err, fits.ImageHDU(flags, name="DQ")]).writeto(target)


@pytest.mark.parametrize("method", [None, "GZIP_1"])
@pytest.mark.parametrize(
    ("spoil", "plane", "words"),
    [(constant, 2, "has no noise: every good pixel is 100"), (copied, 4, "has the same pixels as")],
)
def test_a_bad_plane_of_a_cube_is_left_out_alone(
    good: list[Path], tmp_path: Path, method: str | None, spoil: Any, plane: int, words: str
) -> None:
    frames = folder_of(good[:FIRST], tmp_path / "frames")
    cube(good[FIRST:], frames / "cube.fits", method, spoil)
    refused = noise_maps(frames, good)
    assert (refused.exit_code, refused.written) == (1, ())
    assert refused.message.startswith(f"error: {frames}/cube.fits[{plane}]: {words}")
    left_out = noise_maps(frames, good, "--skip-bad-frames")
    assert f"1 of {ALL} frames left out: cube.fits[{plane}]: {words}" in left_out.message
    assert skipped(left_out) == [f"cube.fits[{plane}]"]
    others = [path for i, path in enumerate(good) if i != FIRST + plane]
    same = noise_maps(folder_of(others, tmp_path / "others"), good)
    assert left_out.product is not None
    assert same.product is not None
    assert same_planes(left_out.product, same.product)
