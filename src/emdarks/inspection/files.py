"""Checks of the files themselves: images in them that are not read."""

from __future__ import annotations

from collections.abc import Iterator

from emdarks.inspection.facts import Facts
from emdarks.inspection.summary import Finding
from emdarks.inspection.words import several

__all__ = ["unread_images"]


def unread_images(facts: Facts) -> Iterator[Finding]:
    """Images in the files that are no planes of a frame, by their names or the camera file."""
    known = {name.upper() for name in facts.camera.frames.companions}
    found: dict[str, tuple[str, ...]] = {}
    for item in facts.campaign.inputs:
        if item.layout is not None:
            names = tuple(n for n in item.layout.unread if n.partition("(")[2][:-1] not in known)
            if names:
                found.setdefault(item.layout.path, names)
    if found:
        path, names = next(iter(found.items()))
        yield Finding(
            "warning",
            "file",
            f"{several(len(found), 'file', 'hold')} further images that are not read, the first "
            f"{path}: {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}",
            remedy='say in the camera file what they are: [frames] layout = "extensions" where '
            "each is a frame, companions = [names] where none is",
        )
