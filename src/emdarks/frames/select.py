"""Which files a user means: files, folders, patterns and lists of them."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from emdarks.cameras import Camera, load_camera
from emdarks.errors import InputError, NoImageError
from emdarks.fitsio import FileLayout, Scanner
from emdarks.frames.dataset import Dataset, frames_in

__all__ = ["select_frames", "select_products"]

_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")
# What DATATYPE says in files that are no frames.
_PRODUCTS = frozenset({"Dark", "DetectorNoiseMaps", "DetectorParams", "BadPixelMap", "Truth"})


def select_frames(arguments: Iterable[str], camera: str | Camera | None = None) -> Dataset:
    """Open the frames that arguments name; reads headers only.

    Parameters
    ----------
    arguments : iterable of str
        Each a file, a folder (its FITS files in order of name; products among them
        are left out by their headers), a pattern like ``dark_*.fits``, or ``@list.txt``,
        a text file with one of these a line, relative to the folder of the list.
    camera : str or Camera, optional
        Files of a folder that are no darks by its rule are left out, too.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        An argument names nothing, or a file cannot be read.
    """
    arguments = list(arguments)
    chosen_camera = None if camera is None else load_camera(camera)
    chosen: dict[str, list[object]] = {}
    scanner = Scanner()
    for path, in_folder in _expand(arguments):
        key = str(path.absolute())
        if chosen.get(key):
            continue
        try:
            layout = scanner.scan(path)
        except NoImageError:
            if in_folder:
                continue
            raise
        wanted = not in_folder or _is_wanted(layout, chosen_camera)
        chosen[key] = list(frames_in(layout)) if wanted else []
    frames = [frame for found in chosen.values() for frame in found]
    if not frames:
        raise InputError(f"no frames found in {', '.join(arguments) or 'nothing'}")
    return Dataset(frames)


def select_products(arguments: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Tell products from frames among what arguments name; reads headers only.

    Parameters
    ----------
    arguments : iterable of str
        As for `select_frames`.

    Returns
    -------
    products : list of Path
        Files named one by one, by patterns or in lists, whose headers say that they are no
        frames; each once.
    frames : list of str
        The other arguments and files, for `select_frames`; folders among them.

    Raises
    ------
    InputError
        An argument names nothing, or a file cannot be read.
    """
    products: dict[str, Path] = {}
    frames = []
    scanner = Scanner()
    for argument in arguments:
        if Path(argument).is_dir():
            frames.append(argument)
            continue
        for path, in_folder in _expand([argument]):
            try:
                frame = _is_wanted(scanner.scan(path), None)
            except NoImageError:
                if in_folder:
                    continue
                raise
            if frame:
                frames.append(str(path))
            elif not in_folder:
                products.setdefault(str(path.absolute()), path)
    return list(products.values()), frames


def _is_wanted(layout: FileLayout, camera: Camera | None) -> bool:
    """Whether a file of a folder is a frame, and a dark, as far as its header tells."""
    kinds = {layout.image.cards.get("DATATYPE"), layout.primary.get("DATATYPE")}
    if kinds & _PRODUCTS:
        return False
    return camera is None or camera.takes_as_dark((layout.image.cards, layout.primary))


def _expand(arguments: Iterable[str], folder: Path | None = None) -> Iterator[tuple[Path, bool]]:
    """Paths, and whether each was found in a folder."""
    for argument in arguments:
        if argument.startswith("@"):
            name = argument[1:]
            yield from _listed(Path(name) if folder is None else folder / name)
            continue
        path = Path(argument) if folder is None else folder / argument
        if path.is_dir():
            yield from ((found, True) for found in _in_folder(path))
        elif path.exists():
            yield path, False
        else:
            found = sorted(glob.glob(str(path)))  # noqa: PTH207  patterns may be absolute
            if not found:
                raise InputError(f"{argument}: no such file or folder, and no file matches it")
            yield from ((Path(name), False) for name in found)


def _listed(path: Path) -> Iterator[tuple[Path, bool]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of files ({error})") from None
    names = [line.strip() for line in lines]
    yield from _expand((name for name in names if name and not name.startswith("#")), path.parent)


def _in_folder(path: Path) -> list[Path]:
    found = [
        file
        for file in sorted(path.iterdir())
        if file.name.lower().endswith(_ENDINGS) and not file.name.startswith(".") and file.is_file()
    ]
    if not found:
        raise InputError(f"{path}: holds no FITS file")
    return found
