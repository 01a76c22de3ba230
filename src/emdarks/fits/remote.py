"""Files at URLs, through fsspec: the only place that knows it.

Credentials and servers are what fsspec finds in its own configuration and in the environment;
nothing of them is kept here. What may be secret in a URL (a user's name and password, the
query of a signed one) is used to read it, and never shown.

Reads that fail are tried again a few times; then one error names the object.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from emdarks.errors import InputError, without_secrets

T = TypeVar("T")

#: End of the name of a file that is being written, here or there.
PART = ".emdarks-part"
TRIES = 4
# Seconds before the second try, twice as many before each further one.
PAUSE = 0.25
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]+://")
_PATTERN = re.compile(r"[*?\[]")
# Stores that show an object only when all of it is there.
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "memory"}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at a URL, as it was found.

    Attributes
    ----------
    url : str
        Where it is.
    size, mtime_ns : int
        Bytes; time of change, 0 where the server does not tell.
    etag : str
        The server's word for this version of it, empty where there is none.
    """

    url: str = field(repr=False)
    size: int
    mtime_ns: int
    etag: str

    @property
    def name(self) -> str:
        """The URL without what may be secret."""
        return without_secrets(self.url)

    @property
    def version(self) -> str:
        """What tells it from others of its name, size and time, as a text without secrets."""
        query = urlsplit(self.url).query
        if not query:
            return self.etag
        # Some servers tell their files apart by the query alone.
        return f"{self.etag}?{hashlib.blake2b(query.encode(), digest_size=8).hexdigest()}"


def is_url(path: object) -> bool:
    """Whether a path is a URL."""
    return isinstance(path, str) and _URL.match(path) is not None


def local_path(url: str) -> str | None:
    """Path of a ``file://`` URL; None for others."""
    return url.removeprefix("file://") if url.startswith("file://") else None


def join(folder: str | os.PathLike[str], name: str) -> str:
    """A file in a folder, either of which may be a URL."""
    text = os.fspath(folder)
    return f"{text.rstrip('/')}/{name}" if is_url(text) else str(Path(text) / name)


def shown(path: str | os.PathLike[str]) -> str:
    """A path or URL as messages name it: without what may be secret."""
    text = os.fspath(path)
    return local_path(text) or without_secrets(text)


@lru_cache(maxsize=64)
def _made(root: str, process: int) -> Any:
    try:
        import fsspec
    except ImportError:
        raise InputError(f"{root}: needs fsspec; pip install 'emdarks[cloud]'") from None
    try:
        return fsspec.core.url_to_fs(root)[0]
    except ImportError as error:
        raise InputError(f"{root}: needs another package ({error})") from None
    except Exception as error:  # some connect at once, and fail in many ways
        raise InputError(f"{root}: cannot be read ({_reason(error, root)})") from None


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, one for all threads, and the path there."""
    parts = urlsplit(url)
    system = _made(f"{parts.scheme}://{parts.netloc}", os.getpid())
    return system, system._strip_protocol(url)


def _tried(url: str, verb: str, call: Callable[[], T]) -> T:
    """Result of a call that may fail a few times."""
    name = without_secrets(url)
    for attempt in range(TRIES):
        try:
            return call()
        except InputError:
            raise
        except FileNotFoundError:
            raise InputError(f"{name}: no such file") from None
        except PermissionError:
            raise InputError(
                f"{name}: cannot be {verb} (access denied; are the credentials set?)"
            ) from None
        except Exception as error:  # servers and their clients fail in many ways
            if attempt == TRIES - 1:
                raise InputError(
                    f"{name}: cannot be {verb} after {TRIES} tries ({_reason(error, url)})"
                ) from None
            time.sleep(PAUSE * 2**attempt)
    raise AssertionError("unreachable")


def _reason(error: Exception, url: str) -> str:
    """What went wrong, without what may be secret."""
    text = str(error).replace(url, without_secrets(url)) or type(error).__name__
    parts = urlsplit(url)
    for secret in (parts.password, parts.username):
        text = text.replace(secret, "...") if secret else text
    return re.sub(r"\?\S+", "?...", without_secrets(text.splitlines()[0]))


def look_up(url: str) -> RemoteFile:
    """Find a file; asks the server.

    Raises
    ------
    InputError
        There is none, or the server does not answer.
    """
    system, path = _filesystem(url)
    info = getattr(system, "_info", system.info)
    # Some answer from lists that they made before.
    again = {"refresh": True} if "refresh" in inspect.signature(info).parameters else {}
    return _found(url, _tried(url, "read", lambda: system.info(path, **again)))


def _found(url: str, info: dict[str, Any]) -> RemoteFile:
    if info.get("type") == "directory" or info.get("size") is None:
        raise InputError(f"{without_secrets(url)}: is no file of known size")
    etag = next((info[key] for key in ("ETag", "etag", "md5Hash") if info.get(key)), "")
    when = next(
        (info[key] for key in ("LastModified", "last_modified", "mtime", "created") if key in info),
        0,
    )
    if isinstance(when, datetime):
        when = when.timestamp()
    mtime_ns = int(when * 1e9) if isinstance(when, (int, float)) else 0
    return RemoteFile(url, int(info["size"]), mtime_ns, str(etag).strip('"'))


def list_files(url: str, endings: tuple[str, ...]) -> tuple[list[RemoteFile], bool]:
    """Files that a URL means: itself, those that match a pattern, or those of a folder.

    Parameters
    ----------
    url : str
        With ``*``, ``?`` or ``[`` (``*`` alone over HTTP), a pattern.
    endings : tuple of str
        How the names of files of a folder end.

    Returns
    -------
    files : list of RemoteFile
        In order of name.
    in_folder : bool
        Whether they were found in a folder.

    Raises
    ------
    InputError
        There is none, or the server does not answer.
    """
    system, path = _filesystem(url)
    # In HTTP's URLs, a question mark starts the query.
    special = "*" in path if url.startswith("http") else _PATTERN.search(path)
    if special:
        found = _tried(url, "listed", lambda: system.glob(path, detail=True))
        files = [info for info in found.values() if info.get("type") != "directory"]
    elif not url.endswith("/") and not _tried(url, "read", lambda: system.isdir(path)):
        return [look_up(url)], False
    else:
        listed = _tried(url, "listed", lambda: system.ls(path, detail=True))
        files = [
            info
            for info in listed
            if info.get("type") != "directory" and str(info["name"]).lower().endswith(endings)
        ]
    if not files:
        raise InputError(f"{without_secrets(url)}: no file there, and no file matches it")
    ordered = sorted(files, key=lambda info: str(info["name"]))
    return [_listed(system, info) for info in ordered], not special


def _listed(system: Any, info: dict[str, Any]) -> RemoteFile:
    url = str(system.unstrip_protocol(info["name"]))
    # Lists of web servers have no sizes.
    return _found(url, info) if info.get("size") is not None else look_up(url)


def read_ranges(
    file: RemoteFile, ranges: Sequence[tuple[int, int]], check: bool = True
) -> list[bytes]:
    """Bytes of ranges of a file, fetched side by side.

    Parameters
    ----------
    file : RemoteFile
        As it was found.
    ranges : sequence of (int, int)
        First and last-plus-one byte.
    check : bool
        Refuse a file that is not as it was found.

    Raises
    ------
    InputError
        The file cannot be read, changed, or ended.
    """
    if not ranges:
        return []
    if check and look_up(file.url) != file:
        raise InputError(f"{file.name}: changed after its header was read; run again")
    system, path = _filesystem(file.url)
    starts, stops = [lo for lo, _ in ranges], [hi for _, hi in ranges]

    def fetch() -> list[bytes]:
        fetched = system.cat_ranges([path] * len(ranges), starts, stops, on_error="raise")
        return [_exactly(part, *pair, file) for part, pair in zip(fetched, ranges, strict=True)]

    return _tried(file.url, "read", fetch)


def _exactly(part: bytes, lo: int, hi: int, file: RemoteFile) -> bytes:
    if len(part) == hi - lo:
        return part
    if len(part) == file.size:  # a web server that gives files whole
        return part[lo:hi]
    raise OSError(f"{len(part)} bytes came instead of {hi - lo}")


def read_whole(file: RemoteFile) -> io.BytesIO:
    """A whole file."""
    return io.BytesIO(read_ranges(file, [(0, file.size)])[0])


class RangeFile(io.RawIOBase):
    """A file that is read where it is asked for; buffer it."""

    def __init__(self, file: RemoteFile):
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere else."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fetch bytes."""
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._file.size)
        if stop <= self._at:
            return 0
        (part,) = read_ranges(self._file, [(self._at, stop)], check=False)
        view[: len(part)] = part
        self._at = stop
        return len(part)


def exists(url: str) -> bool:
    """Whether there is something."""
    system, path = _filesystem(url)
    return bool(_tried(url, "read", lambda: system.exists(path)))


def put(local: str | os.PathLike[str], url: str) -> None:
    """Copy a local file to a URL; it appears whole or not at all.

    Raises
    ------
    InputError
        It cannot be written.
    """
    system, path = _filesystem(url)
    if urlsplit(url).scheme in _WHOLE:
        _tried(url, "written", lambda: system.put_file(os.fspath(local), path))
        return
    part = f"{path}{PART}"

    def copy() -> None:
        system.put_file(os.fspath(local), part)
        system.mv(part, path)

    _tried(url, "written", copy)
