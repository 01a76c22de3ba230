"""Files that commands write: where, under which name, and never over one that they read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emdarks.errors import InputError


@dataclass(frozen=True, slots=True)
class Target:
    """A file to write, by folder and name; the folder may be a URL."""

    parent: str
    name: str

    def __str__(self) -> str:
        from emdarks.fits import join

        return join(self.parent, self.name)


def output_file(output: str | Path, documented_name: str, overwrite: bool) -> Target:
    """File to write: the one named, or the documented name in a folder.

    Raises
    ------
    InputError
        The folder does not exist, or the file does and may not be replaced.
    """
    from emdarks.fits import is_url, local_path

    if is_url(output):
        output = str(output)
        if local_path(output) is None:
            return _remote_target(output, documented_name, overwrite)
        output = str(local_path(output))
    output = Path(output)
    path = output / documented_name if output.is_dir() else output
    try:
        exists = path.exists()
    except OSError as error:  # a name that is too long, for one
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); give another name with -o"
        ) from None
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path.parent}: is not writable")
    if exists and not overwrite:
        raise InputError(f"{path}: exists; choose another name or give --overwrite")
    return Target(str(path.parent), path.name)


def local_output(output: str) -> Path:
    """File or folder of this machine, by its path or its file:// URL.

    Raises
    ------
    InputError
        It is a URL of another place.
    """
    from emdarks.fits import is_url, local_path

    if is_url(output) and local_path(output) is None:
        raise InputError(f"{output}: is a URL; name a folder or file of this machine")
    return Path(local_path(output) or output)


def _remote_target(url: str, documented_name: str, overwrite: bool) -> Target:
    from emdarks.fits.remote import exists

    parent, _, name = url.rpartition("/")
    made = Target(parent, name or documented_name)
    if not overwrite and exists(str(made)):
        raise InputError(f"{made}: exists; choose another name or give --overwrite")
    return made


def check_not_read(target: Target, files: Iterable[str | Path | None]) -> None:
    """Refuse to write over a file that the command reads.

    Raises
    ------
    InputError
        The output is one of them, by whatever way it is named.
    """
    from emdarks.fits import is_url, local_path, shown

    named = str(target)
    for file in files:
        name = "" if file is None else local_path(str(file)) or str(file)
        if is_url(named) or is_url(name):
            taken = shown(named) == shown(name)
        else:
            path, other = Path(named), Path(name)
            taken = path.exists() and bool(name) and other.exists() and path.samefile(other)
        if taken:
            raise InputError(f"{target}: is read by this command; choose another output")


def check_not_a_frame(target: Target, frames: Iterable[Any]) -> None:
    """Refuse to write over a frame that the product is to be made of.

    Raises
    ------
    InputError
        The file is one of the frames, by whatever way it is named.
    """
    from emdarks.fits import is_url, shown

    named = str(target)
    files = [str(frame.filepath) for frame in frames if frame.filename]
    if is_url(named):
        taken = shown(named) in map(shown, files)
    else:
        path = Path(named)
        taken = path.exists() and any(not is_url(f) and path.samefile(f) for f in files)
    if taken:
        raise InputError(f"{target}: is one of the frames; choose another name for the output")
