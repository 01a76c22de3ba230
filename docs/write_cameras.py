"""Write the figures of the built-in cameras into docs/cameras.md, from their files.

Run ``python docs/write_cameras.py`` after a change of a camera file; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from emdarks.cameras import BUILTIN, Camera, Rule, camera_text, load_camera
from emdarks.detector import frame_shape

PAGE = Path(__file__).parent / "cameras.md"
BEGIN = "<!-- from the camera files: begin (python docs/write_cameras.py) -->"
END = "<!-- from the camera files: end -->"

_QUANTITIES = {
    "exposure time": "exposure_time",
    "EM gain": "commanded_gain",
    "better EM gain": "better_gains",
    "electrons per DN": "k_gain",
    "temperature": "temperature",
    "start": "start",
}


_LAYOUTS = {
    "single": "one frame a file",
    "cube": "cubes",
    "extensions": "a frame in each image of a file",
}


def section() -> str:
    """All built-in cameras."""
    return "\n".join(_camera(load_camera(name)) for name in BUILTIN)


def _camera(camera: Camera) -> str:
    rows, cols = frame_shape(camera.arrtype, camera.regions)
    files = _LAYOUTS[camera.frames.layout]
    planes = "with ERR and DQ" if camera.frames.err_and_dq else "without ERR and DQ"
    facts = {
        "frame": f"{rows} x {cols} pixels" + (", or windows" if camera.frames.windows else ""),
        "files": f"{files}, {camera.frames.dtype}, {planes}",
        **{title: _keywords(camera, name) for title, name in _QUANTITIES.items()},
        "conventional readout": _rule(camera.conventional),
        "darks": _rule(camera.darks),
        "mirrored": _rule(camera.mirrored),
        "settings that must not mix": ", ".join(
            f"{name} (`{'`, `'.join(keywords)}`)" for name, keywords in camera.settings.items()
        ),
        "electrons per DN from": ", ".join(camera.sensitivity),
        "clock-induced charge": f"{camera.noise.clock_induced_charge:g} e-/pixel/frame",
        "dark current": f"{camera.noise.dark_current:g} e-/pixel/s",
        "bias level": _bias(camera),
    }
    if not camera.modes:
        facts["read noise"] = f"{camera.noise.read_noise:g} e-"
        facts["electrons per DN, typical"] = f"{camera.noise.k_gain:g}"
    lines = [f"## {camera.name}", "", camera.description + ".", "", _sources(camera.name), ""]
    lines += ["| | |", "| --- | --- |"]
    lines += [f"| {title} | {value} |" for title, value in facts.items() if value]
    return "\n".join([*lines, "", *_modes(camera)])


def _sources(name: str) -> str:
    """The comment at the top of the file, which says where its figures come from."""
    words = []
    for line in camera_text(name).splitlines():
        if not line.startswith("#"):
            break
        words.append(line.removeprefix("#").strip())
    return " ".join(word for word in words if word)


def _keywords(camera: Camera, quantity: str) -> str:
    words = []
    for keyword in getattr(camera.keywords, quantity):
        value = camera.values.get(keyword)
        words.append(f"`{keyword}`" + (f" ({value.unit})" if value and value.unit else ""))
    return ", else ".join(words)


def _rule(rule: Rule | None) -> str:
    if rule is None:
        return ""
    return f"`{rule.keyword}` is {' or '.join(repr(value) for value in rule.values)}"


def _bias(camera: Camera) -> str:
    if camera.bias is not None and camera.bias.level is not None:
        return f"{camera.bias.level:g} DN"
    if any(mode.bias for mode in camera.modes):
        return "by mode"
    return "subtracted already" if camera.frames.err_and_dq else "not known: part of F"


def _modes(camera: Camera) -> list[str]:
    if not camera.modes:
        return []
    figures = {
        "e-/DN": "k_gain",
        "read noise, e-": "read_noise",
        "saturation, DN": "saturation",
        "bias, DN": "bias",
    }
    used = {t: n for t, n in figures.items() if any(getattr(m, n) for m in camera.modes)}
    lines = [
        "| mode | " + " | ".join(used) + " |",
        "| --- | " + " | ".join("---" for _ in used) + " |",
    ]
    for mode in camera.modes:
        values = (getattr(mode, name) for name in used.values())
        cells = ("" if value is None else f"{value:g}" for value in values)
        lines.append(f"| {mode.name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def page(text: str) -> str:
    """The page with its figures as the files have them now."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{section()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
