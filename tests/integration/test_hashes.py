"""Every product, bit by bit: hashes of pixels, tables and headers, kept in a file.

A change that is to change no number must leave `tests/data/hashes.json` as it is. A change that
changes numbers, or the frames of tests, writes it anew and says why in its commit:

    python tests/integration/test_hashes.py --write
        writes tests/data/hashes.json
    python tests/integration/test_hashes.py --show NAME
        prints what is hashed of the products whose names contain NAME, to be compared between
        two commits

Pixels are those of the saved file, scaled to what they mean and in this machine's byte order,
and for data and err also those in memory; they and tables are hashed to the last bit. Numbers of
headers and of the half split have ten digits: the linear algebra of NumPy, which some of them
come from, differs in the last ones by processor. Dates, versions, paths and names of files are
left out.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest import mock

import astropy
import numpy as np
import pytest
from astropy.io import fits

sys.path.append(str(Path(__file__).parents[1]))  # where this file is run as a program

from campaigns import REGIONS, params, quirky_campaign
from emdarks import (
    Threads,
    build_bad_pixel_map,
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    check_darks,
    load_camera,
    mean_combine,
    subtract_dark,
)
from emdarks.data import Dataset, DetectorParams, sample
from emdarks.fits import packed, unpacked
from emdarks.subtract import save_subtracted

DATA = Path(__file__).parents[1] / "data"
GOLDEN = DATA / "golden"
HASHES = DATA / "hashes.json"

# ---------------------------------------------------------------- what is hashed

#: Dates, versions, and names of files.
VOLATILE = re.compile(
    r"DATE|FILETIME|DRPCTIME|DRPVERSN|CREATOR|CHECKSUM|DATASUM|FILENAME|FILE\d+|DARKFILE"
)
VOLATILE_COLUMNS = {"FILENAME", "MTIME"}
#: Cards whose comments astropy writes.
STRUCTURE = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|TFIELDS|BSCALE|BZERO")
FILE_NAME = re.compile(r"[\w./-]+\.(fits|toml)(\.gz)?")


def text_of_value(value: Any) -> str:
    """A value of a card or a report."""
    if isinstance(value, fits.Undefined):
        return "undefined"
    if isinstance(value, dict):
        return "\n".join(f"{key}: {text_of_value(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(text_of_value(each) for each in value)}]"
    return f"{value:#.10g}" if isinstance(value, float) else repr(value)


def text_of_header(header: fits.Header) -> str:
    """A header, a line for each card that is no date, version or name of a file."""
    lines = []
    for card in header.cards:
        if VOLATILE.fullmatch(card.keyword):
            continue
        value = text_of_value(card.value)
        comment = "" if STRUCTURE.fullmatch(card.keyword) else card.comment
        lines.append(FILE_NAME.sub("FILE", f"{card.keyword} = {value} / {comment}"))
    return "\n".join(lines)


def native(array: Any) -> np.ndarray:
    """The array in this machine's byte order."""
    array = np.asarray(array)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def text_of_column(values: np.ndarray) -> str:
    """A column of a table; floats exactly."""
    rows = values.tolist()
    return FILE_NAME.sub("FILE", f"{values.dtype.kind} {rows}")


def parts_of_hdu(hdu: Any) -> dict[str, Any]:
    """Header and pixels, or header and columns."""
    name = hdu.name or "image"
    parts: dict[str, Any] = {f"{name} header": text_of_header(hdu.header)}
    hdu = unpacked(hdu)
    if isinstance(hdu, fits.BinTableHDU):
        parts[f"{name} rows"] = "\n".join(
            f"{column} {text_of_column(native(hdu.data[column]))}"
            for column in hdu.columns.names
            if column not in VOLATILE_COLUMNS
        )
    elif hdu.data is not None:
        parts[f"{name} pixels"] = native(hdu.data)
    return parts


def parts_of_file(path: Path) -> dict[str, Any]:
    with fits.open(path, memmap=False) as hdus:
        return {name: part for hdu in hdus for name, part in parts_of_hdu(hdu).items()}


def parts_of(made: Any, folder: Path) -> dict[str, Any]:
    """What is hashed of a product, by name: arrays and texts."""
    if isinstance(made, Mapping):
        return dict(made)
    if isinstance(made, Dataset):
        paths = save_subtracted(made, folder)
        return {
            f"frame {i}, {name}": part
            for i, path in enumerate(paths)
            for name, part in parts_of_file(path).items()
        }
    memory = {f"{plane} in memory": native(getattr(made, plane)) for plane in ("data", "err")}
    made.save(folder)
    return {**memory, **parts_of_file(folder / made.filename)}


def digest(part: Any) -> str:
    """SHA-256 of a text, or of an array, its type and shape."""
    if isinstance(part, str):
        return hashlib.sha256(part.encode()).hexdigest()
    kind = f"{part.dtype.kind}{part.dtype.itemsize} {part.shape} "
    return hashlib.sha256(kind.encode() + part.tobytes()).hexdigest()


# ---------------------------------------------------------------- the frames


@dataclass
class Campaign:
    """Frames, and what the functions need to know of them."""

    paths: Sequence[str | Path]
    params: DetectorParams | None = None
    regions: Any = None
    camera: Any = None

    @cached_property
    def frames(self) -> Dataset:
        return Dataset([str(path) for path in self.paths], skip_bad_frames=True)

    @cached_property
    def _stacks(self) -> dict[tuple[float, float], Dataset]:
        datasets, pairs = self.frames.split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
        return dict(zip(pairs, datasets, strict=True))

    def stack(self, gain: float, time: float) -> Dataset:
        return self._stacks[gain, time]

    @property
    def options(self) -> dict[str, Any]:
        return {"detector_regions": self.regions, "camera": self.camera}


def sample_campaign(folder: Path) -> Campaign:
    """The campaign that comes with the package, in DN and packed."""
    return Campaign(sample())


def golden_campaign(folder: Path) -> Campaign:
    """That of the reference, in EM electrons, with masked pixels."""
    regions = json.loads((GOLDEN / "campaign.json").read_text())["geometry"]
    parameters = DetectorParams(GOLDEN / "detector_params.fits")
    return Campaign(sorted(GOLDEN.glob("cgi_*.fits")), parameters, regions)


def quirky(folder: Path, **more: Any) -> Campaign:
    """Every kind of bad pixel, and errors of the frames."""
    return Campaign(quirky_campaign(folder, **more).paths, params(), REGIONS)


ONE_GAIN = ((300.0, 2.0, 6), (300.0, 30.0, 5), (300.0, 90.0, 6), (300.0, 60.0, 5))
ONE_TIME = ((1.0, 60.0, 6), (30.0, 60.0, 5), (300.0, 60.0, 6), (2000.0, 60.0, 5))

LEVELLED = """\
like = "excam-sample"
name = "raw"

[bias]
region = "prescan_reliable"

[frames]
saturation = 900
"""


def raw_campaign(folder: Path) -> Campaign:
    """The sample with its bias level, which differs by row, in whole numbers."""
    (folder / "raw.toml").write_text(LEVELLED)
    paths = []
    for source in sample():
        with fits.open(source, memmap=False) as hdus:
            level = 300 + np.arange(hdus[1].data.shape[0]) % 7
            raw = np.clip(np.rint(hdus[1].data + level[:, np.newaxis]), 0, 65535)
            header = hdus[1].header.copy()
            image = fits.ImageHDU(raw.astype(np.uint16), header)
            paths.append(folder / source.name.removesuffix(".gz"))
            fits.HDUList([hdus[0].copy(), image, *hdus[2:]]).writeto(paths[-1])
    return Campaign(paths, camera=load_camera(str(folder / "raw.toml")))


def broken_campaign(folder: Path) -> Campaign:
    """The sample, and a file that ends before its pixels do."""
    path = folder / "cgi_broken_l2a.fits"
    with fits.open(sample()[0], memmap=False) as hdus:
        hdus.writeto(path)
    path.write_bytes(path.read_bytes()[:20_000])
    return Campaign([*sample(), path])


CAMPAIGNS: dict[str, Callable[[Path], Campaign]] = {
    "sample": sample_campaign,
    "golden": golden_campaign,
    "quirky": quirky,
    "one gain": partial(quirky, stacks=ONE_GAIN),
    "one time": partial(quirky, stacks=ONE_TIME),
    "raw": raw_campaign,
    "broken": broken_campaign,
}


class Workshop:
    """Campaigns and products, each made once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._campaigns: dict[str, Campaign] = {}
        self._products: dict[str, Any] = {}

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))

    def campaign(self, name: str) -> Campaign:
        if name not in self._campaigns:
            self._campaigns[name] = CAMPAIGNS[name](self.folder())
        return self._campaigns[name]

    def product(self, name: str) -> Any:
        if name not in self._products:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._products[name] = PRODUCTS[name](self)
        return self._products[name]

    def parts(self, name: str) -> dict[str, Any]:
        # Files that are read once need not survive a loss of power, and disks are slow.
        with warnings.catch_warnings(), mock.patch("os.fsync"):
            warnings.simplefilter("ignore")
            return parts_of(self.product(name), self.folder())

    def hashes(self, name: str) -> dict[str, str]:
        return {part: digest(value) for part, value in self.parts(name).items()}


# ---------------------------------------------------------------- the products


def noise_maps(name: str, options: dict[str, Any], work: Workshop) -> Any:
    campaign = work.campaign(name)
    return calibrate_darks_lsq(campaign.frames, campaign.params, **campaign.options, **options)


def trad_dark(
    name: str, setting: tuple[float, float], options: dict[str, Any], work: Workshop
) -> Any:
    campaign = work.campaign(name)
    frames = campaign.stack(*setting)
    return build_trad_dark(frames, campaign.params, **campaign.options, **options)


def mean(name: str, setting: tuple[float, float], err: bool, work: Workshop) -> Any:
    image, all_bad, count, enough = mean_combine(
        work.campaign(name).stack(*setting), None, err, mask_bits=None
    )
    return {
        "mean": native(image),
        "map of bad pixels": native(all_bad),
        "good frames": native(count),
        "enough": str(enough),
    }


def mean_of_arrays(name: str, setting: tuple[float, float], work: Workshop) -> Any:
    frames = work.campaign(name).stack(*setting)
    bad = [(frame.dq > 0).astype(int) for frame in frames]
    image, all_bad, count, enough = mean_combine([frame.data for frame in frames], bad)
    return {
        "mean": native(image),
        "map of bad pixels": native(all_bad),
        "good frames": native(count),
        "enough": str(enough),
    }


def synthesized(
    name: str, setting: tuple[float, float], maps: str, options: dict[str, Any], work: Workshop
) -> Any:
    campaign = work.campaign(name)
    frames = campaign.stack(*setting)
    return build_synthesized_dark(frames, work.product(maps), **campaign.options, **options)


def subtracted(name: str, dark: str, frames: slice, work: Workshop) -> Any:
    campaign = work.campaign(name)
    return subtract_dark(
        campaign.frames[frames], work.product(dark), campaign.params, **campaign.options
    )


def bad_pixels(name: str, product: str, options: dict[str, Any], work: Workshop) -> Any:
    campaign = work.campaign(name)
    return build_bad_pixel_map(work.product(product), **campaign.options, **options)


def half_split(name: str, options: dict[str, Any], work: Workshop) -> Any:
    campaign = work.campaign(name)
    report = check_darks(campaign.frames, campaign.params, **campaign.options, **options)
    return {"report": text_of_value(report.as_dict())}


def input_frames(name: str, work: Workshop) -> Any:
    """Numbers of the frames that tests make: where these change, products do."""
    return {"pixels": native(np.array([frame.data for frame in work.campaign(name).frames]))}


FITS_OF_ALL: dict[str, dict[str, Any]] = {
    "pooled": {},
    "pooled, equal weights": {"weighting": False},
    "pooled, screened": {"screen": True},
    "pooled, gain error": {"gain_error": 0.02},
    "reference": {"estimator": "reference"},
    "reference, equal weights": {"estimator": "reference", "weighting": False},
}
FITS_OF_GOLDEN: dict[str, dict[str, Any]] = {
    "pooled, nothing clipped": {"nonnegative": ()},
    "pooled, all clipped": {"nonnegative": ("FPN", "CIC", "DC")},
    "pooled, some flags": {"mask_bits": 32},
    "pooled, own k-gain": {"kgain": 8.0},
    "reference, screened": {"estimator": "reference", "screen": True},
    "all options": {"screen": True, "gain_error": 0.01, "nonnegative": ("FPN",)},
}
STACK = {"sample": (1000.0, 60.0), "golden": (200.0, 60.0), "quirky": (300.0, 50.0)}
STACK["raw"] = STACK["sample"]

Recipe = Callable[[Workshop], Any]


def recipes() -> dict[str, Recipe]:
    """What is made, by name."""
    found: dict[str, Recipe] = {}
    for name in ("quirky", "one gain", "one time", "raw"):
        found[f"{name}: frames"] = partial(input_frames, name)
    for name in ("sample", "golden", "quirky"):
        found |= of_campaign(name, STACK[name])
    for words, options in FITS_OF_GOLDEN.items():
        found[f"golden: noise maps, {words}"] = partial(noise_maps, "golden", options)
    for name in ("one gain", "one time"):
        found |= of_two_maps(name)
    maps = "raw: noise maps, pooled"
    found[maps] = partial(noise_maps, "raw", {})
    found["raw: dark"] = partial(trad_dark, "raw", STACK["raw"], {"full_frame": True})
    found["raw: frames less maps"] = partial(subtracted, "raw", maps, slice(0, 1))
    skip = {"skip_bad_frames": True}
    found["broken: noise maps, bad frames left out"] = partial(noise_maps, "broken", skip)
    return found


def of_campaign(name: str, setting: tuple[float, float]) -> dict[str, Recipe]:
    """Every product of a campaign of several gains and times."""
    found: dict[str, Recipe] = {
        f"{name}: mean": partial(mean, name, setting, False),
        f"{name}: mean of errors": partial(mean, name, setting, True),
        f"{name}: mean of arrays": partial(mean_of_arrays, name, setting),
    }
    for words, options in FITS_OF_ALL.items():
        found[f"{name}: noise maps, {words}"] = partial(noise_maps, name, options)
    for estimator in ("sample", "pooled", "reference"):
        options = {"estimator": estimator, "full_frame": True}
        found[f"{name}: dark, {estimator}"] = partial(trad_dark, name, setting, options)
    maps, dark = f"{name}: noise maps, pooled", f"{name}: dark, image region"
    found[dark] = partial(trad_dark, name, setting, {})
    for words, options in {
        "image region": {},
        "full": {"full_frame": True},
        "published maps": {"full_frame": True, "use_signed": False},
    }.items():
        found[f"{name}: synthesised dark, {words}"] = partial(
            synthesized, name, setting, maps, options
        )
    # Two frames of different stacks.
    found[f"{name}: frames less maps"] = partial(subtracted, name, maps, slice(0, 8, 7))
    found[f"{name}: bad pixels of maps"] = partial(bad_pixels, name, maps, {"full_frame": True})
    found[f"{name}: bad pixels of a dark"] = partial(bad_pixels, name, dark, {})
    found[f"{name}: half split"] = partial(half_split, name, {})
    return found


def of_two_maps(name: str) -> dict[str, Recipe]:
    """Products of stacks of one gain, or of one time."""
    maps = f"{name}: noise maps, pooled"
    level = {"model": "level"}
    return {
        maps: partial(noise_maps, name, level),
        f"{name}: noise maps, equal weights": partial(
            noise_maps, name, {**level, "weighting": False}
        ),
        f"{name}: synthesised dark": partial(
            synthesized, name, (300.0, 60.0), maps, {"full_frame": True}
        ),
        f"{name}: bad pixels": partial(bad_pixels, name, maps, {}),
        f"{name}: half split": partial(half_split, name, level),
    }


PRODUCTS = recipes()

# ---------------------------------------------------------------- the tests


def kept() -> dict[str, str]:
    found: dict[str, str] = json.loads(HASHES.read_text())
    return found


def of_product(hashes: Mapping[str, str], name: str) -> dict[str, str]:
    """Hashes of one product, by its parts."""
    start = f"{name} | "
    return {key.removeprefix(start): each for key, each in hashes.items() if key.startswith(start)}


def difference(name: str, new: Mapping[str, str], old: Mapping[str, str]) -> str:
    """What of a product changed; empty where nothing did."""
    changed = [part for part in new if part in old and new[part] != old[part]]
    more, fewer = [part for part in new if part not in old], [p for p in old if p not in new]
    lines = [
        f"  {word}: {', '.join(parts)}"
        for word, parts in (("changed", changed), ("new", more), ("missing", fewer))
        if parts
    ]
    if not lines:
        return ""
    return "\n".join(
        [
            f"{name}: other than tests/data/hashes.json says",
            *lines,
            f"  to see what is hashed: python tests/integration/test_hashes.py --show '{name}'",
            "  if it is meant to change: python tests/integration/test_hashes.py --write",
        ]
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("hashes"))


@pytest.mark.skipif(
    int(astropy.__version__.split(".")[0]) < 8, reason="older Astropy writes other table headers"
)
@pytest.mark.parametrize("name", list(PRODUCTS))
def test_same_bits_as_ever(name: str, work: Workshop) -> None:
    words = difference(name, work.hashes(name), of_product(kept(), name))
    if words:
        pytest.fail(words, pytrace=False)


def test_the_file_holds_no_other_product() -> None:
    assert {key.split(" | ")[0] for key in kept()} == set(PRODUCTS)


@pytest.mark.skipif(
    int(astropy.__version__.split(".")[0]) < 8, reason="older Astropy writes other table headers"
)
def test_threads_do_not_matter(work: Workshop) -> None:
    for threads in (1, 3):
        options = {"screen": True, "executor": Threads(threads)}
        made = noise_maps("quirky", options, work)
        new = {part: digest(value) for part, value in parts_of(made, work.folder()).items()}
        assert not difference("", new, of_product(kept(), "quirky: noise maps, pooled, screened"))


def saved(work: Workshop) -> Path:
    """A product in a file."""
    folder = work.folder()
    product = copy.copy(work.product("sample: noise maps, pooled"))
    product.save(folder)
    return folder / str(product.filename)


def changed_by(path: Path, change: Callable[[fits.HDUList], None]) -> list[str]:
    """Parts whose hashes are others after a change of a file."""
    before = {name: digest(part) for name, part in parts_of_file(path).items()}
    with fits.open(path, memmap=False) as hdus:
        change(hdus)
        hdus.writeto(path, overwrite=True)
    after = {name: digest(part) for name, part in parts_of_file(path).items()}
    return [name for name in before if before[name] != after[name]]


def flip(name: str) -> Callable[[fits.HDUList], None]:
    """Change the last bit of one pixel."""

    def change(hdus: fits.HDUList) -> None:
        plane = np.ascontiguousarray(hdus[name].data)
        plane.reshape(-1).view(np.uint8)[plane.size // 2 * plane.itemsize + plane.itemsize - 1] ^= 1
        hdus[name].data = plane

    return change


@pytest.mark.parametrize("name", ["ERR", "DQ", "SIGNED", "NSTACKS"])
def test_one_bit_is_seen(name: str, work: Workshop) -> None:
    assert changed_by(saved(work), flip(name)) == [f"{name} pixels"]


def test_one_card_is_seen(work: Workshop) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["CHI2"].header["CONTENT"] += "."
        hdus[1].header["B_O"] *= 1 + 1e-9

    assert changed_by(saved(work), change) == ["image header", "CHI2 header"]


def test_one_cell_is_seen(work: Workshop) -> None:
    def change(hdus: fits.HDUList) -> None:
        table = unpacked(hdus["STACKS"])
        table.data["VARIANCE"][2] = np.nextafter(table.data["VARIANCE"][2], 0)
        hdus["STACKS"] = packed(table)

    assert changed_by(saved(work), change) == ["STACKS rows"]


def test_dates_versions_and_names_of_files_are_not_seen(work: Workshop) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus[0].header["FILENAME"] = "another.fits"
        hdus[1].header["FILE0"] = "another.fits"
        hdus[1].header["DRPCTIME"] = "1999-01-01"
        hdus[1].header["DRPVERSN"] = "9.9"

    assert changed_by(saved(work), change) == []


def test_the_message_names_what_changed() -> None:
    words = difference("maps", {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "0", "d": "4"})
    assert "changed: b\n" in words
    assert "new: c\n" in words
    assert "missing: d\n" in words


# ---------------------------------------------------------------- the commands


def say(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{text}\n")


def write() -> None:
    """Write the file of hashes, and say what changed."""
    old = kept() if HASHES.exists() else {}
    new: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Workshop(Path(folder))
        for name in PRODUCTS:
            hashes = work.hashes(name)
            new |= {f"{name} | {part}": each for part, each in hashes.items()}
            if words := difference(name, hashes, of_product(old, name)):
                known = any(key.startswith(f"{name} | ") for key in old)
                say("\n".join(words.splitlines()[:-2]) if known else f"{name}: new")
    HASHES.write_text(json.dumps(new, indent=0) + "\n")
    say(f"wrote {len(new)} hashes of {len(PRODUCTS)} products")


def show(name: str) -> None:
    """Print what is hashed."""
    with tempfile.TemporaryDirectory() as folder:
        work = Workshop(Path(folder))
        for each in (each for each in PRODUCTS if name in each):
            for part, value in work.parts(each).items():
                say(f"---- {each} | {part}: {digest(value)}")
                say(value if isinstance(value, str) else summary(value))


def summary(array: np.ndarray) -> str:
    """An array in a line; moments in full, so that a changed bit is mostly seen."""
    usable = array[np.isfinite(array)].astype(float)
    values = f"mean {usable.mean()!r}, std {usable.std()!r}" if usable.size else "no number"
    return f"{array.dtype} {array.shape}, {array.size - usable.size} not finite, {values}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The hashes of all products")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--write", action="store_true", help="write tests/data/hashes.json")
    group.add_argument("--show", metavar="NAME", help="print what is hashed of a product")
    given = parser.parse_args()
    if given.write:
        write()
    else:
        show(given.show)


if __name__ == "__main__":
    main()
