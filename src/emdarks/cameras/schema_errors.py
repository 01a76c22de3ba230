"""What is wrong in a camera file, in the words of this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

__all__ = ["MEANINGS", "dataclass_in", "problem_of", "similar"]

#: What the keys are that a camera file must have, or a table of it where there is one.
MEANINGS = {
    "name": "what the camera is called in messages and products",
    "description": "one line about the camera",
    "arrtype": "the name of the table below [geometry] that its dark frames have",
    "geometry": "a table such as [geometry.FULL] with frame_rows, frame_cols and image",
    "noise.read_noise": "read noise, electrons",
    "noise.clock_induced_charge": "clock-induced charge, electrons per pixel and frame",
    "noise.dark_current": "dark current, electrons per pixel and second",
    "conventional.keyword": "the keyword that tells conventional readout",
    "conventional.values": "the values of that keyword that mean conventional readout",
    "mirrored.keyword": "the keyword that tells mirrored frames",
    "mirrored.values": "the values of that keyword that mean mirrored",
    "darks.keyword": "the keyword that tells what a frame shows",
    "darks.values": "the values of that keyword that mean a dark",
    "modes.name": "what the mode is called",
    "modes.when": "the settings that select the mode",
}
#: What pydantic finds wrong with the type of a value.
_TYPES = {
    "float": "a number",
    "int": "a whole number",
    "string": "a text",
    "bool": "true or false",
    "tuple": "a text or a list",
    "list": "a list",
    "dict": "a table",
    "dataclass": "a table",
}


def problem_of(error: Mapping[str, Any]) -> str:
    """What is wrong with one key, after its name.

    Parameters
    ----------
    error : mapping
        One of the ``errors()`` of a pydantic ``ValidationError``.

    Returns
    -------
    str
    """
    kind, given = str(error["type"]), error.get("input")
    if kind == "missing":
        key = ".".join(part for part in error["loc"] if isinstance(part, str))
        meaning = MEANINGS.get(key)
        return f"is missing: {meaning}" if meaning else "is missing"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in ("literal_error", "enum"):
        return f"is {given!r}; known are {error['ctx']['expected']}"
    expected = _TYPES.get(kind.split("_")[0])
    if expected and kind.endswith(("_type", "_parsing", "_from_float")):
        return f"is {given!r}, not {expected}"
    return f"is {given!r}: {error['msg']}"


def similar(key: str, value: Any, kind: type, whole: type) -> str:
    """What may be meant by a key that a table does not have.

    Parameters
    ----------
    key : str
        The unknown key.
    value : object
        What stands there.
    kind : type
        What the table may hold.
    whole : type
        What the file may hold.

    Returns
    -------
    str
    """
    known = [item.name for item in fields(kind)]
    elsewhere = [path for path in _paths(whole) if path.rpartition(".")[2] == key]
    if isinstance(value, dict):
        elsewhere = []  # the tables all stand at the top
    close = get_close_matches(key, known, cutoff=0.5)
    if elsewhere:
        return f"it belongs into {' or '.join(_table_of(path) for path in elsewhere)}"
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known here are {', '.join(known)}"


def _table_of(path: str) -> str:
    table = path.rpartition(".")[0]
    return {"": "the top of the file", "modes": "[[modes]]"}.get(table, f"[{table}]")


def _paths(kind: type) -> Iterable[str]:
    """Keys of a kind of table, and of the tables in it."""
    for name, hint in get_type_hints(kind).items():
        yield name
        inner = dataclass_in(hint)
        if inner is not None and name != "values":
            yield from (f"{name}.{below.name}" for below in fields(inner))


def dataclass_in(hint: Any) -> Any:
    """The kind of table that a hint allows: itself, or in an optional, a tuple, a dict."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for arg in get_args(hint) if (found := dataclass_in(arg))), None)
