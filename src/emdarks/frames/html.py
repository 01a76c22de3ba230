"""Frames and products in notebooks: a small table and pictures, as HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from emdarks.errors import EmdarksError

#: Names and values.
Rows = list[tuple[str, str]]
#: Name and PNG file.
Picture = tuple[str, bytes]


def table_with_pictures(title: str, rows: Rows, pictures: Iterable[Picture]) -> str:
    """Table and pictures, as HTML.

    Parameters
    ----------
    title : str
        Above the table: the class of the object.
    rows : list of (str, str)
        Names and values.
    pictures : iterable of (str, bytes)
        Names and PNG files, which may be drawn while they are asked for.
    """
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in rows
    )
    figures = "".join(_figure(name, png) for name, png in _drawn(pictures))
    return (
        f"<div><b>{escape(title)}</b>"
        "<div style='display:flex;gap:1em;align-items:flex-start'>"
        f"<table>{cells}</table>{figures}</div></div>"
    )


def size_text(shape: Sequence[int]) -> str:
    """A shape, such as "1200 x 2200"."""
    return " x ".join(str(length) for length in shape)


def _drawn(pictures: Iterable[Picture]) -> list[Picture]:
    try:
        return list(pictures)
    except EmdarksError:
        return []  # the file is gone: what is known of it is worth showing all the same


def _figure(name: str, png: bytes) -> str:
    code = base64.b64encode(png).decode("ascii")
    return (
        f"<figure style='margin:0'><img alt='{escape(name)}' "
        "style='min-width:150px;image-rendering:pixelated' "
        f"src='data:image/png;base64,{code}'>"
        f"<figcaption>{escape(name)}</figcaption></figure>"
    )
