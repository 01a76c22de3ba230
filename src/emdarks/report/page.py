"""What a page is made of, and how it becomes one file.

The templates hold the words, tables and captions of pages. Python gives them plain values and
figures, and never sees HTML; `render` brings both together.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from emdarks import plots
from emdarks._version import __version__
from emdarks.checks import Finding, formatting
from emdarks.checks.finding import Severity, worst_first
from emdarks.checks.formatting import several
from emdarks.errors import InputError
from emdarks.fits import whole_file

#: Width of the figures of a page, inches; a hundred pixels of the page each.
WIDTH = 10.4
_DPI = 150
_COLOURS = 256

_FILTERS = (
    "between",
    "count",
    "in_errors",
    "measured",
    "number",
    "percent",
    "setting",
    "signed",
    "size",
    "tied",
    "value_in",
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure: a name in one word, and the PNG file."""

    name: str
    png: bytes

    @property
    def address(self) -> str:
        """The file as an address that needs no other file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height in pixels, from the header of the PNG."""
        width, height = (int.from_bytes(self.png[i : i + 4], "big") for i in (16, 20))
        return width, height


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: name of its anchor, title, content, and the pictures in it."""

    key: str
    title: str
    html: Markup
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all findings together say.

    Attributes
    ----------
    severity : {"problem", "warning", "fine"}
        Of the worst finding.
    words : str
        In one sentence.
    """

    severity: Severity
    words: str

    @classmethod
    def of(cls, findings: Iterable[Finding], untested: str = "") -> Verdict:
        """Sum findings up; `untested` is said where nothing was found."""
        found = [item.severity for item in findings]
        problems, warnings = found.count("problem"), found.count("warning")
        if problems:
            return cls("problem", f"Not as it is: {several(problems, 'problem')} to be solved.")
        if warnings:
            return cls("warning", f"Yes, with care: {several(warnings, 'warning')} to be read.")
        return cls("fine", f"Yes: nothing speaks against it. {untested}".strip())


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Attributes
    ----------
    title, subtitle : str
        What it is about.
    what : str
        What this is, in a sentence or two.
    advice : sequence of Finding
        Whether it can be trusted, and what to do.
    steps : sequence of str
        What to do with it.
    sections : sequence of Section
        All the rest.
    glance : Markup
        The most important numbers, after the words in front.
    untested : str
        What has not been looked at, said where nothing was found.
    observed : str
        When the frames behind it were taken.
    question : str
        What the verdict answers.
    answer : Verdict, optional
        The verdict, where it is not that of the advice.
    """

    title: str
    subtitle: str
    what: str
    advice: Sequence[Finding]
    steps: Sequence[str]
    sections: Sequence[Section]
    glance: Markup = field(default_factory=Markup)
    untested: str = ""
    observed: str = ""
    question: str = "Can it be trusted?"
    answer: Verdict | None = None

    @classmethod
    def of(cls, words: Rendered, *, more: Iterable[Section] = (), **head: Any) -> Page:
        """Page of what a template gave, and of sections behind it; `head` has the other fields."""
        sections = [*words.sections, *more]
        return cls(
            what=words.what, steps=words.steps, glance=words.glance, sections=sections, **head
        )

    @property
    def verdict(self) -> Verdict:
        """Whether the product can be trusted."""
        return self.answer or Verdict.of(self.advice, self.untested)

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in order."""
        return [picture for section in self.sections for picture in section.pictures]

    def html(self) -> str:
        """The page as a text that needs no other file."""
        return _environment().get_template("page.html.j2").render(page=self, version=__version__)

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


@dataclass
class Rendered:
    """What a template gives: sections, and for the head of a page `what`, steps, and a glance."""

    sections: list[Section] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    what: str = ""
    glance: Markup = field(default_factory=Markup)


def render(
    template: str, figures: Mapping[str, plots.Figure] | None = None, **values: Any
) -> Rendered:
    """Render a template of sections.

    Parameters
    ----------
    template : str
        Name of a file in ``templates``, or the text of a template, which has line breaks.
    figures : mapping of str to Figure, optional
        The figures that it shows, by name.
    **values
        What the template names.

    Returns
    -------
    Rendered
        A template adds a section by ``{% call section(key, title) %}``, a step by
        ``{% call step() %}``, shows a figure by ``{% call picture(name, description) %}``, whose
        third argument may be points that lead elsewhere (``left`` and ``top`` in percent,
        ``address``, ``words``), and may set ``what`` and ``glance``.
    """
    environment = _environment()
    found = Rendered()
    drawn: list[Picture] = []

    def section(key: str, title: str, caller: Any) -> str:
        html = caller()
        found.sections.append(Section(key, title, html, tuple(drawn)))
        drawn.clear()
        return ""

    def step(caller: Any) -> str:
        found.steps.append(caller())
        return ""

    def picture(name: str, description: str, points: Sequence[Any] = (), *, caller: Any) -> Any:
        drawn.append(Picture(name, plots.as_png((figures or {})[name], _DPI, _COLOURS)))
        return environment.globals["picture_file"](drawn[-1], description, caller(), points)  # type: ignore[operator]

    load = environment.from_string if "\n" in template else environment.get_template
    context = {**values, "section": section, "step": step, "picture": picture}
    module: Any = load(template).make_module(context)
    found.what = getattr(module, "what", "")
    found.glance = getattr(module, "glance", found.glance)
    return found


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("emdarks.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formatting, name) for name in _FILTERS}
    environment.filters |= {"g": "{:g}".format, "prose": _prose, "worst_first": worst_first}
    macros = environment.get_template("macros.html.j2").module
    environment.globals |= {k: v for k, v in vars(macros).items() if not k.startswith("_")}
    return environment


def one_line(text: object) -> str:
    """Text without the line breaks of a template."""
    return re.sub(r"[ \n]+", " ", str(text)).strip()


def _prose(text: Any) -> Markup:
    """Text with words between backticks as code; everything else is escaped."""
    parts = one_line(escape(text)).split("`")
    # Words between backticks are typed as they stand, with plain spaces; a last one is a word.
    code = {i for i in range(1, len(parts), 2) if i < len(parts) - 1}
    marked = "".join(
        f"<code>{p}</code>" if i in code else formatting.tied(p) for i, p in enumerate(parts)
    )
    # Everything that came in is escaped.
    return Markup(marked)  # nosec B704
