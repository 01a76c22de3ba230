"""Lines of the kernels, in all languages: sources, stub, and what stands between them."""

from __future__ import annotations

from pathlib import Path

#: Below the root of the sources: kernels, what types them for Python, and Python around them.
KERNELS = (
    "src/core/*",
    "src/emdarks/_core.pyi",
    "src/emdarks/kernels/*.py",
    "src/emdarks/moments.py",
)


def lines_of_kernels(packages: list[Path]) -> dict[str, int]:
    """Lines (comments and empty ones, too) by pattern; none where there are no sources."""
    roots = [folder.parents[1] for folder in packages if folder.parent.name == "src"]
    files = {pattern: sorted(root.glob(pattern)) for root in roots[:1] for pattern in KERNELS}
    return {
        pattern: sum(len(file.read_bytes().splitlines()) for file in found)
        for pattern, found in files.items()
    }
