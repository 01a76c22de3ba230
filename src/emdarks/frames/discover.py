"""Which files a user means: files, folders, patterns and lists of them."""

from __future__ import annotations

import glob
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from emdarks.cameras import Camera, load_camera, why_no_dark
from emdarks.cameras.units import same, text_of
from emdarks.errors import EmdarksError, EmdarksWarning, InputError, NoImageError
from emdarks.fits import FileLayout, RemoteFile, Scanner, is_url, list_files, local_path
from emdarks.fits.layout import read_small
from emdarks.frames.bad_frames import BadFrame
from emdarks.frames.dataset import Dataset, frames_in
from emdarks.frames.frame_input import camera_named_in, frame_settings
from emdarks.frames.unread_images import NO_FRAMES, UnreadImages, kind_of_product

_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")


def select_frames(
    arguments: Iterable[str],
    camera: str | Camera | None = None,
    where: Mapping[str, Any] | None = None,
    *,
    exclude: Iterable[str] = (),
    skip_bad_frames: bool = False,
    extensions: bool | None = None,
) -> Dataset:
    """Open the frames that arguments name; reads headers only.

    Parameters
    ----------
    arguments : iterable of str
        Each a file, a folder (its FITS files in order of name; products among them
        are left out by their headers), a pattern like ``dark_*.fits``, any of these as a
        URL that fsspec knows (a folder ends with a slash), or ``@list.txt``, a text file
        with one of these a line, relative to the folder of the list.
    camera : str or Camera, optional
        Files of a folder that are no darks by its rule are left out, too.
    where : mapping, optional
        Only frames of these readout settings, as in `frames_where`.
    exclude : iterable of str
        Files not to take, named in the same ways, or by a name or pattern without a folder
        wherever they lie; one that names none of the files is said.
    skip_bad_frames : bool
        Leave out files that cannot be read.
    extensions : bool, optional
        Every image of a file is a frame; by default where the camera has that layout.

    Returns
    -------
    Dataset
        Its ``skipped`` names the files that were left out for that, ``left_out`` those of
        folders that are no darks, or products; a warning says how many are no darks, and why.

    Raises
    ------
    InputError
        An argument names nothing or a product, or a file cannot be read.

    Warns
    -----
    EmdarksWarning
        Files have no image, or images that are not read.
    """
    arguments = list(arguments)
    chosen_camera = None if camera is None else load_camera(camera)
    files: dict[str, tuple[Path | RemoteFile, bool]] = {}
    for path, in_folder in _expand(arguments):
        # A frame counts once, by whatever way it is named; what is named is taken as it is.
        key = _key(path)
        earlier, only_found = files.get(key, (path, True))
        files[key] = (path if only_found else earlier), in_folder and only_found
    _exclude(files, exclude)
    if extensions is None:
        extensions = reads_extensions(chosen_camera)
    seen = _Seen(chosen_camera, skip_bad_frames, extensions)
    scanned = Scanner().scan_each((path for path, _ in files.values()), extensions)
    for (path, in_folder), layouts in zip(files.values(), scanned, strict=True):
        seen.take(path, in_folder, layouts)
    frames, skipped, passed = seen.frames, seen.skipped, seen.passed
    if not frames:
        why = f"; {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise InputError(
            f"no frames found in {', '.join(arguments) or 'nothing'}"
            + (f"; {out}" if (out := _left_out(seen.others)) else "")
            + why
        )
    if passed:
        warnings.warn(
            f"{passed[0]}: no frame, since it has no image: passed over"
            + (f", as {len(passed) - 1} others" if len(passed) > 1 else ""),
            EmdarksWarning,
            stacklevel=2,
        )
    seen.unread.tell()
    if out := _left_out(seen.others):
        warnings.warn(out, EmdarksWarning, stacklevel=2)
    dataset = Dataset(frames)
    dataset.skipped, dataset.left_out = tuple(skipped), tuple(seen.others)
    return (
        frames_where(dataset, where, camera, skip_bad_frames=skip_bad_frames) if where else dataset
    )


def reads_extensions(camera: str | Camera | None) -> bool:
    """Whether every image of a file is a frame of this camera."""
    return camera is not None and load_camera(camera).frames.layout == "extensions"


def _key(path: Path | RemoteFile) -> str:
    """What tells one file from another, by whatever way it is named."""
    return os.path.realpath(path) if isinstance(path, Path) else path.url


def _name(path: Path | RemoteFile) -> str:
    """The file without its folder."""
    return Path(path if isinstance(path, Path) else path.url).name


def _exclude(files: dict[str, Any], exclude: Iterable[str]) -> None:
    """Take out the files that are not wanted.

    Raises
    ------
    InputError
        None is left.
    """
    names = list(exclude)
    before = dict(files)
    idle = []
    for name in names:
        # A name without a folder is meant wherever the file lies.
        anywhere = "" if "/" in name else name
        unwanted = {k for k, (path, _) in before.items() if fnmatchcase(_name(path), anywhere)}
        try:
            unwanted |= {_key(path) for path, _ in _expand([name])}
        except InputError:
            if name.startswith("@"):
                raise  # a list that cannot be read
        if not unwanted & before.keys():
            idle.append(name)
        for key in unwanted:
            files.pop(key, None)
    if idle:
        warnings.warn(
            f"{', '.join(idle)}: to be excluded, but none of the {len(before)} files is so named; "
            "look at the spelling",
            EmdarksWarning,
            stacklevel=3,
        )
    if names and not files:
        raise InputError(f"all {len(before)} files are excluded ({', '.join(names)})")


class _Seen:
    """What becomes of the files that arguments name."""

    def __init__(self, camera: Camera | None, skip: bool, extensions: bool):
        self.frames: list[Any] = []
        self.skipped: list[BadFrame] = []
        self.passed: list[str] = []
        self.others: list[BadFrame] = []
        self.unread = UnreadImages(extensions)
        self._camera = camera
        self._skip = skip

    def take(
        self,
        path: Path | RemoteFile,
        in_folder: bool,
        layouts: tuple[FileLayout, ...] | InputError,
    ) -> None:
        """Sort one file: frames, none, or a bad one."""
        name = str(path) if isinstance(path, Path) else path.name
        if not isinstance(layouts, InputError) and not in_folder:
            kind = kind_of_product(layouts[0])
            if kind:
                layouts = InputError(f"{name}: is no frame but a product ({kind}); leave it out")
        if isinstance(layouts, InputError):
            if in_folder and (kind := _kind_of_small(path)):
                self.others.append(BadFrame(name, f"a product ({kind})"))
            else:
                self._refuse(name, in_folder, layouts)
            return
        wanted = []
        for layout in layouts:
            why_not = _why_not_wanted(layout, self._camera) if in_folder else None
            if why_not is None:
                wanted.append(layout)
            else:
                reason = why_not or f"a product ({kind_of_product(layout)})"
                self.others.append(BadFrame(name, reason))
        self.frames += frames_in(wanted)
        if wanted:
            self.unread.note(wanted[0])

    def _refuse(self, name: str, in_folder: bool, error: InputError) -> None:
        if in_folder and isinstance(error, NoImageError):
            self.passed.append(name)
        elif self._skip:
            self.skipped.append(BadFrame.of(name, error))
        else:
            raise error


def _kind_of_small(path: Path | RemoteFile) -> str:
    """Kind of a calibration of a few numbers, such as a k-gain; empty for any other file."""
    if not isinstance(path, Path):
        return ""
    try:
        kind = str(read_small(path).cards.get("DATATYPE", ""))
    except EmdarksError:
        return ""
    return kind if kind in NO_FRAMES else ""


def frames_where(
    dataset: Dataset,
    where: Mapping[str, Any],
    camera: str | Camera | None = None,
    *,
    skip_bad_frames: bool = False,
) -> Dataset:
    """Those frames of a dataset that were read out in one way; reads headers only.

    Parameters
    ----------
    dataset : Dataset
        The frames.
    where : mapping of str to bool, number or str
        Values by the name of a setting of the camera, ``conventional`` or ``mirrored``;
        a frame is kept if it has all of them. T or F, true or false, yes or no stand for
        these, too.
    camera : str or Camera, optional
        Reads the headers; the one that the frames' CAMERA card names, else ``excam``.
    skip_bad_frames : bool
        Leave out frames whose header does not tell; the result's ``skipped`` has them.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError, MissingKeywordError
        The camera has no such setting, no frame has the value, or a header does not tell
        (with ``skip_bad_frames``: no header does).
    """
    chosen = load_camera(camera or camera_named_in(dataset))
    for name in where:
        if name not in chosen.setting_names:
            known = ", ".join(chosen.setting_names) or "none"
            raise InputError(f"camera {chosen.name} has no setting {name!r}; it has: {known}")
    settings: dict[int, Mapping[str, Any]] = {}
    bad: list[tuple[BadFrame, EmdarksError]] = []
    for i, frame in enumerate(dataset):
        try:
            settings[i] = frame_settings(frame, chosen)
        except EmdarksError as error:
            if not skip_bad_frames:
                raise
            bad.append((BadFrame.of(frame.filepath, error), error))
    if not settings:
        raise bad[0][1]
    kept = [i for i, found in settings.items() if _fits(found, where)]
    if not kept:
        found = list(settings.values())
        raise InputError(f"none of the {len(dataset)} frames has {_which(found, where)}")
    some = dataset[kept]
    some.skipped += tuple(frame for frame, _ in bad)
    return some


def _fits(found: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(_equal(found[name], value) for name, value in where.items())


def _equal(found: Any, value: Any) -> bool:
    if found is None:
        return False
    if isinstance(found, bool):
        return text_of(value).casefold() in (
            ("t", "true", "yes") if found else ("f", "false", "no")
        )
    return same(found, value)


def _which(settings: Sequence[Mapping[str, Any]], where: Mapping[str, Any]) -> str:
    """What no frame has, and what there is instead."""
    wanted = " and ".join(f"{name}={text_of(value)}" for name, value in where.items())
    there = "; ".join(
        f"{name}="
        + ", ".join(sorted({"-" if s[name] is None else text_of(s[name]) for s in settings}))
        for name in where
    )
    return f"{wanted}; there are {there}"


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
            if isinstance(path, RemoteFile):
                frames.append(path.url)
                continue
            try:
                frame = _why_not_wanted(scanner.scan(path), None)
            except NoImageError:
                if in_folder:
                    continue
                raise
            if frame is None:
                frames.append(str(path))
            elif not in_folder:
                products.setdefault(str(path.absolute()), path)
    return list(products.values()), frames


def first_file(arguments: Iterable[str]) -> Path | RemoteFile | None:
    """The first file that arguments name, whatever it is; none is opened.

    Parameters
    ----------
    arguments : iterable of str
        As for `select_frames`.

    Returns
    -------
    Path, RemoteFile or None
        None where nothing is named, which `select_frames` refuses with the reason.
    """
    try:
        return next((path for path, _ in _expand(arguments)), None)
    except (InputError, OSError):
        return None


def _why_not_wanted(layout: FileLayout, camera: Camera | None) -> str | None:
    """Why a file of a folder is left out, as far as its header tells; None: it is a frame.

    The card that says that it is no dark, or empty for a product.
    """
    if kind_of_product(layout):
        return ""
    headers = layout.image.cards, layout.primary
    return (None if camera is None else why_no_dark(camera, headers)) or None


def _left_out(others: Sequence[BadFrame]) -> str:
    """Files that the camera's rule for darks leaves out; empty where there are none."""
    reasons = [other.reason for other in others if not other.reason.startswith("a product (")]
    if not reasons:
        return ""
    verb = "file is no dark and was" if len(reasons) == 1 else "files are no darks and were"
    kinds = ", ".join(
        f"{reason} in {count}" if count < len(reasons) else reason
        for reason, count in Counter(reasons).most_common()
    )
    return (
        f"{len(reasons)} {verb} left out ({kinds}); if they are darks, mend their headers, or "
        "[darks] in the camera file"
    )


def _expand(
    arguments: Iterable[str], folder: Path | None = None, lists: tuple[str, ...] = ()
) -> Iterator[tuple[Path | RemoteFile, bool]]:
    """Files, and whether each was found in a folder; ``lists`` are the lists being read."""
    for argument in arguments:
        if argument.startswith("@"):
            name = argument[1:]
            yield from _listed(Path(name) if folder is None else folder / name, lists)
            continue
        if is_url(argument) and not local_path(argument):
            found, in_folder = list_files(argument, _ENDINGS)
            yield from ((file, in_folder) for file in found)
            continue
        argument = local_path(argument) or argument
        path = Path(argument) if folder is None else folder / argument
        if path.is_dir():
            yield from ((file, True) for file in _in_folder(path))
        elif path.exists():
            yield path, False
        else:
            names = sorted(glob.glob(str(path)))  # noqa: PTH207  patterns may be absolute
            if not names:
                raise InputError(f"{argument}: no such file or folder, and no file matches it")
            yield from ((Path(name), False) for name in names)


def _listed(path: Path, lists: tuple[str, ...]) -> Iterator[tuple[Path | RemoteFile, bool]]:
    own = os.path.realpath(path)
    if own in lists:
        raise InputError(f"{path}: names itself as a list, perhaps through another; remove that")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of files ({error})") from None
    names = [line.strip() for line in lines]
    named = (name for name in names if name and not name.startswith("#"))
    yield from _expand(named, path.parent, (*lists, own))


def _in_folder(path: Path) -> list[Path]:
    found = [
        file
        for file in sorted(path.iterdir())
        if file.name.lower().endswith(_ENDINGS)
        and not file.name.startswith(".")
        # What is no file but looks like one, such as a link to nowhere, is not passed over.
        and not file.is_dir()
    ]
    if not found:
        raise InputError(f"{path}: holds no FITS file")
    return found
