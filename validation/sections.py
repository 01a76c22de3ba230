"""Pages that several validations write, each a section of its own."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["write_section"]


def write_section(page: Path, title: str, text: str) -> None:
    """Put a section at its place in a page, or at its end, and leave the others as they are.

    Parameters
    ----------
    page : Path
        A page of MyST Markdown that exists.
    title : str
        Heading of the section, of second level.
    text : str
        What stands below it.
    """
    parts = re.split(r"(?m)^(?=## )", page.read_text())
    section = f"## {title}\n\n{text.strip()}\n"
    own = [i for i, part in enumerate(parts) if part.startswith(f"## {title}\n")]
    if own:
        parts[own[0]] = section
    else:
        parts.append(section)
    page.write_text("\n\n".join(part.strip() for part in parts) + "\n")
