"""What a page is made of, and how it becomes one file.

A page is data: a few words in front, then sections of blocks (text, tables, pictures,
facts, advice). Those who make pages never see the template, and the template never sees a
product: any page that is put together of these looks like all the others.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from emdarks import plots
from emdarks._version import __version__
from emdarks.errors import InputError
from emdarks.fitsio import whole_file
from emdarks.report.numbers import tied

__all__ = [
    "Advice",
    "AdviceList",
    "Block",
    "Column",
    "Facts",
    "Page",
    "Picture",
    "Section",
    "Source",
    "Table",
    "Text",
    "Verdict",
]

#: Width of the figures of a page, inches; a hundred pixels of the page each.
WIDTH = 10.4
_DPI = 150
_COLOURS = 256

#: "problem": do not use it so; "warning": worse than it could be; "note": good to know;
#: "fine": nothing to do.
Severity = Literal["problem", "warning", "note", "fine"]
_ORDER = {"problem": 0, "warning": 1, "note": 2, "fine": 3}


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to know about a product, and what to do about it.

    Attributes
    ----------
    severity : {"problem", "warning", "note", "fine"}
        How much it matters.
    text : str
        What was found. Words between backticks are shown as code.
    remedy : str
        What to do; empty where nothing needs to be done.
    """

    severity: Severity
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; words between backticks are shown as code."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: title, unit below it, and whether it holds words."""

    title: str
    unit: str = ""
    words: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts that are ready to be shown."""

    kind: ClassVar[str] = "table"
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, such as cards of a header."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class AdviceList:
    """Advice in the order in which it matters."""

    kind: ClassVar[str] = "advice"
    items: Sequence[Advice]

    @property
    def ordered(self) -> list[Advice]:
        """The worst first."""
        return sorted(self.items, key=lambda item: _ORDER[item.severity])


@dataclass(frozen=True, slots=True)
class Source:
    """Text as it stands, such as a history; folded away on a screen where it is long."""

    kind: ClassVar[str] = "source"
    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure, drawn.

    Attributes
    ----------
    name : str
        Of the file, where pictures are written as files; in one word.
    png : bytes
        The file.
    description : str
        What it shows, for those who cannot see it.
    caption : str
        Below it.
    """

    kind: ClassVar[str] = "picture"
    name: str
    png: bytes
    description: str
    caption: str = ""

    @classmethod
    def of(cls, name: str, figure: plots.Figure, description: str, caption: str = "") -> Picture:
        """Draw a figure in the resolution of pages."""
        return cls(name, plots.as_png(figure, _DPI, _COLOURS), description, caption)

    @property
    def address(self) -> str:
        """The file as an address that needs no other file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height in pixels, from the header of the PNG."""
        width, height = (int.from_bytes(self.png[i : i + 4], "big") for i in (16, 20))
        return width, height


Block = Text | Table | Facts | AdviceList | Source | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: name of its anchor, title, blocks."""

    key: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all advice together says.

    Attributes
    ----------
    severity : {"problem", "warning", "fine"}
        Of the worst advice.
    words : str
        In one sentence.
    """

    severity: Severity
    words: str

    @classmethod
    def of(cls, advice: Iterable[Advice], untested: str = "") -> Verdict:
        """Sum advice up.

        Parameters
        ----------
        advice : iterable of Advice
            What was found.
        untested : str
            What has not been looked at, said where nothing was found.
        """
        found = [item.severity for item in advice]
        problems, warnings = found.count("problem"), found.count("warning")
        if problems:
            return cls("problem", f"Not as it is: {_several(problems, 'problem')} to be solved.")
        if warnings:
            return cls("warning", f"Yes, with care: {_several(warnings, 'warning')} to be read.")
        return cls("fine", f"Yes: nothing speaks against it. {untested}".strip())


def _several(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Attributes
    ----------
    title, subtitle : str
        What it is about.
    what : str
        What this is, in a sentence or two.
    advice : sequence of Advice
        Whether it can be trusted.
    steps : sequence of str
        What to do with it.
    sections : sequence of Section
        All the rest.
    glance : sequence of Block
        The most important numbers, after the words in front.
    untested : str
        What nobody looked at; see ``Verdict.of``.
    observed : str
        When the frames behind it were taken.
    """

    title: str
    subtitle: str
    what: str
    advice: Sequence[Advice]
    steps: Sequence[str]
    sections: Sequence[Section]
    glance: Sequence[Block] = field(default_factory=tuple)
    untested: str = ""
    observed: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the product can be trusted."""
        return Verdict.of(self.advice, self.untested)

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in order."""
        blocks = [*self.glance, *(block for section in self.sections for block in section.blocks)]
        return [block for block in blocks if isinstance(block, Picture)]

    def html(self) -> str:
        """The page as a text that needs no other file."""
        template = _environment().get_template("page.html.j2")
        return template.render(page=self, advice=AdviceList(self.advice), version=__version__)

    def save(
        self,
        path: str | os.PathLike[str],
        png: str | os.PathLike[str] | None = None,
        prefix: str = "",
    ) -> Path:
        """Write the page, whole or not at all, and its pictures as files, too, if wanted.

        Parameters
        ----------
        path : str or path-like
            The file.
        png : str or path-like, optional
            Folder for the pictures; made where there is none.
        prefix : str
            In front of the pictures' names.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InputError
            A file cannot be written.
        """
        target = Path(path)
        folder = None if png is None else _folder(Path(png))
        with whole_file(target) as file:
            file.write(self.html().encode("utf-8"))
        if folder is not None:
            for picture in self.pictures:
                with whole_file(folder / f"{prefix}{picture.name}.png") as file:
                    file.write(picture.png)
        return target


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made a folder ({error.strerror})") from None
    return path


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("emdarks.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    environment.filters["tied"] = tied
    return environment


def _prose(text: Any) -> Markup:
    """Text with words between backticks as code; everything else is escaped."""
    parts = str(escape(text)).split("`")
    # Words between backticks are typed as they stand, with plain spaces; a last one is a word.
    code = {i for i in range(1, len(parts), 2) if i < len(parts) - 1}
    marked = "".join(f"<code>{p}</code>" if i in code else tied(p) for i, p in enumerate(parts))
    # Everything that came in is escaped.
    return Markup(marked)  # nosec B704
