"""A data sheet: all quantities of a camera, as JSON, and against another one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from emdarks._version import __version__
from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.errors import InputError
from emdarks.fits import whole_file

#: Word in the JSON of a data sheet that says what it is, and the version of its schema.
KIND, SCHEMA = "emdarks data sheet", 1


@dataclass(frozen=True, slots=True)
class StackRow:
    """A stack of a data sheet.

    Attributes
    ----------
    commanded_gain, em_gain : float
        EM gain asked for, and that of the headers.
    exposure_time : float
        Seconds.
    frames : int
        Frames that were used.
    temperature : float
        Mean, degrees Celsius; NaN where unknown.
    """

    commanded_gain: float
    em_gain: float
    exposure_time: float
    frames: int
    temperature: float


class Missing(NamedTuple):
    """Quantities that are not known for one reason: their labels with settings, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class DataSheet:
    """What dark frames tell of a camera.

    Attributes
    ----------
    name : str
        What to call the frames.
    camera : str
        Name of the camera.
    shape : tuple of int
        Rows and columns of a frame.
    setting : mapping of str to str
        Readout setting of the frames.
    observed : tuple of float
        Start of the first and of the last exposure, MJD; NaN where unknown.
    stacks : tuple of StackRow
        The stacks.
    quantities : tuple of Quantity
        In the order of the page.
    notes : tuple of str
        What these frames do not tell, and why.
    version : str
        Of emdarks.
    stages : float
        Stages of the gain register; infinity where the law is that of very many, NaN where the file
        does not tell.
    evidence : Evidence or None
        What it was made of; None where it was read from a file.
    """

    name: str
    camera: str
    shape: tuple[int, int]
    setting: Mapping[str, str]
    observed: tuple[float, float]
    stacks: tuple[StackRow, ...]
    quantities: tuple[Quantity, ...]
    notes: tuple[str, ...] = ()
    version: str = __version__
    stages: float = math.nan
    evidence: Evidence | None = field(default=None, compare=False, repr=False)
    chapters: Sequence[Any] = field(default=(), compare=False, repr=False)

    @property
    def frames(self) -> int:
        """Frames that were used."""
        return sum(stack.frames for stack in self.stacks)

    def all(self, key: str) -> list[Quantity]:
        """The quantities of a key, one a setting."""
        return [each for each in self.quantities if each.key == key]

    def __getitem__(self, key: str) -> Quantity:
        """The quantity of a key that is there once.

        Raises
        ------
        KeyError
            There is none, or several.
        """
        found = self.all(key)
        if len(found) != 1:
            raise KeyError(f"{key}: {len(found)} quantities have this key; all() lists them")
        return found[0]

    @property
    def unknown(self) -> list[Missing]:
        """What is not known, once a reason."""
        reasons: dict[str, dict[str, list[str]]] = {}
        for each in self.quantities:
            if not each.known:
                of = reasons.setdefault(each.note, {}).setdefault(each.label, [])
                of.extend(filter(None, [each.of]))
        return [
            Missing("; ".join(map(_named, labels, labels.values())), why)
            for why, labels in reasons.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for numbers that are not known."""
        return {
            "kind": KIND,
            "schema": SCHEMA,
            "version": self.version,
            "name": self.name,
            "camera": self.camera,
            "shape": list(self.shape),
            "setting": dict(self.setting),
            "register_stages": 0 if math.isinf(self.stages) else _plain(self.stages),
            "observed_mjd": [_plain(time) for time in self.observed],
            "frames": self.frames,
            "stacks": [{k: _plain(v) for k, v in asdict(row).items()} for row in self.stacks],
            "quantities": [each.as_dict() for each in self.quantities],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The data sheet that `as_dict` made these values of.

        Raises
        ------
        TypeError, KeyError, ValueError
            The values are of something else.
        """
        if values["kind"] != KIND or values["schema"] != SCHEMA:
            raise ValueError(f"kind {values['kind']!r}, schema {values['schema']!r}")
        rows, columns = values["shape"]
        stages = float(_number(values.get("register_stages")))
        first, last = map(_number, values["observed_mjd"])
        return cls(
            values["name"],
            values["camera"],
            (int(rows), int(columns)),
            dict(values["setting"]),
            (first, last),
            tuple(StackRow(**{k: _number(v) for k, v in row.items()}) for row in values["stacks"]),
            tuple(Quantity.from_dict(each) for each in values["quantities"]),
            tuple(values["notes"]),
            values["version"],
            stages or math.inf,
        )

    def json(self) -> str:
        """The data sheet as the text of a JSON file."""
        return json.dumps(self.as_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the JSON, whole or not at all; an earlier file of that name is replaced.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        target = Path(path)
        with whole_file(target) as file:
            file.write(self.json().encode("utf-8"))
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a data sheet that `save`, or ``emdarks characterize``, wrote.

        Raises
        ------
        InputError
            The file cannot be read, or holds something else.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise InputError(
                f"{path}: is no data sheet of this version; make one with "
                f"emdarks characterize FRAMES -o {path}"
            ) from None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def _named(label: str, of: Sequence[str]) -> str:
    return f"{label} ({'; '.join(of)})" if of else label
