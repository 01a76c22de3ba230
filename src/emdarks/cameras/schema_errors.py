"""What is wrong in a camera file, in the words of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

#: What the keys are that a camera file must have, or a table of it where there is one.
MEANINGS = {
    "name": "what the camera is called in messages and products",
    "description": "one line about the camera",
    "arrtype": "the name of the table below [geometry] that its dark frames have",
    "geometry": "a table such as [geometry.FULL] with frame_rows, frame_cols and image",
    "noise.read_noise": "read noise, electrons",
    "noise.clock_induced_charge": "clock-induced charge, electrons per pixel and frame",
    "noise.dark_current": "dark current, electrons per pixel and second",
    "noise.full_well_image": "full well of a pixel, electrons",
    "noise.full_well_register": "full well of the gain register, electrons",
    "conventional.keyword": "the keyword that tells conventional readout",
    "conventional.values": "the values of that keyword that mean conventional readout",
    "mirrored.keyword": "the keyword that tells mirrored frames",
    "mirrored.values": "the values of that keyword that mean mirrored",
    "darks.keyword": "the keyword that tells what a frame shows",
    "darks.values": "the values of that keyword that mean a dark",
    "raw.keyword": "the keyword that tells raw frames",
    "raw.values": "the values of that keyword that mean a raw frame",
    "counting.threshold": "the threshold of the counts: a number, or its keyword",
    "linearity.file": 'the table that makes frames linear, or "none"',
    "modes.name": "what the mode is called",
    "modes.when": "the settings that select the mode",
}
#: What pydantic finds wrong with the type of a value.
_TYPES = {
    "float": "a number",
    "int": "a whole number",
    "string": "a text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "dataclass": "a table",
}
#: The same of a key that a table does not have.
UNKNOWN_KEY = "unexpected_keyword_argument"


def first_problem(errors: Sequence[Mapping[str, Any]], whole: type) -> str:
    """The first thing to be mended in a camera file, in one line.

    Parameters
    ----------
    errors : sequence of mappings
        The ``errors()`` of a pydantic ``ValidationError``. Unknown keys come first: what else is
        wrong may follow from them.
    whole : type
        What the file may hold.

    Returns
    -------
    str
    """
    error = next((error for error in errors if error["type"] == UNKNOWN_KEY), errors[0])
    key = ".".join(str(part) or '""' for part in error["loc"])
    if error["type"] != UNKNOWN_KEY:
        return f"key {key}: {_problem_of(error)}"
    *above, own = error["loc"]
    return f"unknown key {key!r}; {_similar(own, error['input'], _table_at(above, whole), whole)}"


def _problem_of(error: Mapping[str, Any]) -> str:
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


def _similar(key: str, value: Any, kind: type, whole: type) -> str:
    """What may be meant by a key that a kind of table does not have."""
    known = _keys(kind)
    # The tables all stand at the top.
    paths = [] if isinstance(value, dict) else _paths(whole)
    elsewhere = [_title(table) for table, name in paths if name == key]
    if elsewhere:
        return f"it belongs into {' or '.join(elsewhere)}"
    close = get_close_matches(key, known, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known here are {', '.join(known)}"


def _title(table: str) -> str:
    return {"": "the top of the file", "modes": "[[modes]]"}.get(table, f"[{table}]")


def _keys(kind: type) -> list[str]:
    """Keys of a table; what loading makes of them is not compared."""
    return [item.name for item in fields(kind) if item.compare]


def _paths(whole: type) -> Iterator[tuple[str, str]]:
    """Each table of a file and each key in it; of the top, too."""
    for name in _keys(whole):
        yield "", name
        inner = _table_at([name], whole)
        if inner is not whole and name != "values":
            yield from ((name, below) for below in _keys(inner))


def _table_at(place: Sequence[Any], whole: type) -> Any:
    """The kind of table at a place of the file; numbers of a list and free names are passed."""
    kind = whole
    for part in place:
        kind = _dataclass_in(get_type_hints(kind).get(part)) or kind
    return kind


def _dataclass_in(hint: Any) -> Any:
    """The kind of table that a hint allows: itself, or in an optional, a tuple, a dict."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for arg in get_args(hint) if (found := _dataclass_in(arg))), None)
