"""The page on file formats says what is in the files, no less and no more."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from emdarks.darks import (
    build_photon_counted_dark,
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
)
from emdarks.data import Dataset, DetectorParams, sample
from emdarks.errors import EmdarksWarning
from emdarks.fits import unpacked

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|BSCALE|BZERO|EXTNAME|CHECKSUM|DATASUM|"
    r"TFIELDS|T(TYPE|FORM|UNIT)\d+"
)
#: Settings of the readout, and a bias that frames still held.
ONLY_SOME_CAMERAS = {"READOUT", "BIASSUB"}
#: What only maps of the counting estimator have; numbered cards have no fixed number.
ONLY_COUNTING = re.compile(r"HISTOGRAM|GAINSRC|FLAGLEV|(GFIT|RSLP)[CE]?1|RAYWING|RAYDENS")
TYPES = {"float32": -32, "uint16": 16, "int16": 16, "int32": 32}


def section(title: str) -> str:
    found = re.search(
        rf"^##+ {re.escape(title)}[^\n]*\n(.*?)(?=^## |^### |\Z)",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert found, title
    return found[1]


def rows(title: str) -> list[list[str]]:
    """Cells of the tables of a section, head lines left out."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {i for i, row in enumerate(cells) if set(row[0]) <= {"-", " "}}
    return [row for i, row in enumerate(cells) if i not in heads and i + 1 not in heads]


def names(text: str) -> set[str]:
    """Names in backticks; ``A1`` to ``A3`` are three."""
    found = set(re.findall(r"`([A-Z][A-Z0-9_-]*)`", text))
    for stem, first, last in re.findall(r"`([A-Z]+0?)(\d)` to `[A-Z]+0?(\d)`", text):
        found |= {f"{stem}{i}" for i in range(int(first), int(last) + 1)}
    return found


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("products")
    empty = folder / "empty.fits"
    empty.touch()
    darks = Dataset([*sample(), empty], skip_bad_frames=True)
    options: dict[str, Any] = {"skip_bad_frames": True, "skip_share": 0.2}
    with pytest.warns(EmdarksWarning, match=r"left out: empty\.fits"):
        maps = calibrate_darks_lsq(darks, None, screen=True, **options)
    stack = darks.split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])[0][3]
    with_empty = Dataset([*(frame.filepath for frame in stack), empty], skip_bad_frames=True)
    with pytest.warns(EmdarksWarning, match=r"left out: empty\.fits"):
        dark = build_trad_dark(with_empty, None, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        counted = calibrate_darks_lsq(Dataset(sample()), None, estimator="counting")
        electrons = build_photon_counted_dark(stack, threshold=500.0, max_rate=1.0)
    made = {
        "maps": maps,
        "counted": counted,
        "dark of counted": build_synthesized_dark(stack, counted),
        "traditional": dark,
        "synthesised": build_synthesized_dark(stack, maps),
        "electrons counted": electrons,
        "counts expected": build_synthesized_dark(stack, maps, threshold=500.0),
    }
    for name, product in made.items():
        product.save(folder, f"{name}.fits")
    return {name: folder / f"{name}.fits" for name in made}


def written(path: Path, hdu: Any) -> set[str]:
    """Keywords that the frames did not have: ours. Those of every frame are not."""
    with fits.open(sample()[0]) as frame:
        theirs = set(frame[hdu].header)
    return {
        key
        for key in fits.getheader(path, hdu)
        if key not in theirs and key and not STRUCTURE.fullmatch(key)
    }


def without_numbers(keys: set[str]) -> set[str]:
    return {key for key in keys if not re.fullmatch(r"FILE\d+", key)}


def test_hdus_of_noise_maps(products: dict[str, Path]) -> None:
    described = [row[0].strip("`") for row in rows("Noise maps")]
    with fits.open(products["counted"]) as hdus:
        own = {hdu.name for hdu in hdus[2:]}
        assert own == {*described} - {"1", "REJECTED", "SKIPPED"}
    described.remove("HISTOGRAM")
    with fits.open(products["maps"]) as hdus:
        assert described == ["1", *(hdu.name for hdu in hdus[2:])]
        n, m = hdus[1].shape[1:]
        for name, shape, dtype, *_ in rows("Noise maps"):
            if name == "`HISTOGRAM`":
                continue
            hdu = hdus[int(name) if name == "1" else name.strip("`")]
            if shape != "table":
                numbers = shape.replace("rows", str(n)).replace("columns", str(m))
                assert hdu.shape == tuple(int(word) for word in re.findall(r"\d+", numbers)), name
                assert hdu.header["BITPIX"] == TYPES[dtype], name


@pytest.mark.parametrize("table", ["STACKS", "INPUTS", "SKIPPED"])
def test_columns_of_tables(products: dict[str, Path], table: str) -> None:
    described = {
        name: row[1] for row in rows(f"Table `{table}`") for name in re.findall(r"`(\w+)`", row[0])
    }
    with fits.open(products["maps"]) as hdus:
        columns = {column.name: column.unit or "" for column in unpacked(hdus[table]).columns}
    assert described == columns


def test_tables_of_the_counting_estimator(products: dict[str, Path]) -> None:
    def described(title: str) -> dict[str, str]:
        return {key: row[1] for row in rows(title) for key in re.findall(r"`(\w+)`", row[0])}

    with fits.open(products["counted"]) as hdus, fits.open(products["maps"]) as usual:
        own, common = (unpacked(file["STACKS"]).columns.names for file in (hdus, usual))
        further = set(own) - set(common)
        assert set(described("Further columns of `STACKS`")) == further
        for title, table in (
            ("Further columns of `STACKS`", "STACKS"),
            ("Table `HISTOGRAM`", "HISTOGRAM"),
        ):
            found = {column.name: column.unit for column in unpacked(hdus[table]).columns}
            for name, unit in described(title).items():
                assert unit in ((found[name] or ""), "electron, electron2"), name
    own = without_numbers(written(products["counted"], 1))
    keys = names_of_cards()
    assert {re.sub(r"(GFIT|RSLP)([CE]?)\d+", r"\1\g<2>1", key) for key in own} <= keys
    assert {key for key in keys if ONLY_COUNTING.fullmatch(key)} <= set(
        fits.getheader(products["counted"], 1)
    )


def names_of_cards() -> set[str]:
    return names("".join(row[0] for row in rows("Keywords of noise maps")))


def test_keywords_of_noise_maps(products: dict[str, Path]) -> None:
    path = products["maps"]
    header = fits.getheader(path, 1)
    described = names("".join(row[0] for row in rows("Keywords of noise maps")))
    assert without_numbers(written(path, 1)) <= described
    # A frame may have a MODEL of its own; that of two maps stands beside MAPGAIN or MAPTIME.
    described = {key for key in described if not ONLY_COUNTING.fullmatch(key)}
    assert described - ONLY_SOME_CAMERAS - {"MODEL", "MAPGAIN", "MAPTIME"} <= set(header)
    for key in ("EXPTIME", "EMGAIN_C", "EMGAIN_A", "KGAINPAR", "HVCBIAS"):
        assert header[key] == -999
        assert f"`{key}`" in section("Keywords of noise maps")
    assert written(path, "ERR") == {"BUNIT"}
    assert written(path, "DQ") == set()


def test_keywords_of_darks(products: dict[str, Path]) -> None:
    described = names("".join(row[0] for row in rows("Darks")))
    found: set[str] = set()
    more = {
        "traditional": ["SKIPPED"],
        "electrons counted": ["NGOOD", "NABOVE", "SKIPPED"],
        "counts expected": ["COUNTS", "COUNTERR"],
    }
    for name in (*more, "synthesised", "dark of counted"):
        path = products[name]
        found |= set(fits.getheader(path, 1))
        assert without_numbers(written(path, 1)) <= described
        in_errors = names(section("Darks").split("In `ERR`")[1])
        assert written(path, "ERR") <= in_errors <= set(fits.getheader(path, "ERR"))
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus[4:]] == more.get(name, [])
            found |= {hdu.name for hdu in hdus[4:]}
        measured = name in ("traditional", "electrons counted")
        assert fits.getheader(path, 1)["IS_SYNTH"] == int(not measured)
    assert described <= found


def test_the_version_of_the_format(products: dict[str, Path]) -> None:
    (version,) = re.findall(r"`FMTVERS` (\d+)", PAGE.read_text(encoding="utf-8"))
    assert fits.getheader(products["maps"], 1)["FMTVERS"] == int(version)


def test_detector_parameters() -> None:
    described = {row[0].strip("`"): row[1] for row in rows("Detector parameters")}
    params = DetectorParams({}).params
    assert described == {
        key: "none" if value is None else f"{value:g}" for key, value in params.items()
    }
