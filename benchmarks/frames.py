"""Full-size frames for the benchmarks, made once in a folder."""

from __future__ import annotations

from pathlib import Path

from emdarks.simulate import DEFAULT_STACKS, simulate_campaign


def campaign(folder: Path, frames: int) -> list[str]:
    """Paths of six full-size stacks of ``frames`` frames each."""
    target = folder / f"campaign_{frames}"
    if not (target / "campaign.toml").exists():
        simulate_campaign(target, "excam", frames=frames, seed=frames, stacks=DEFAULT_STACKS)
    return sorted(str(path) for path in target.glob("cgi_*.fits"))
