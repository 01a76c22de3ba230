"""From a product, a file or frames to a report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from emdarks.accumulate import Executor
from emdarks.cameras import Camera
from emdarks.checks import CampaignSummary, Finding, inspect_campaign
from emdarks.checks.counting_summary import CountingSummary
from emdarks.checks.product_summary import BadPixelView, MapsView, ProductView, view_of
from emdarks.data import BadPixelMap, Dark, Dataset, DetectorNoiseMaps
from emdarks.errors import InputError, TooFewFramesError
from emdarks.fits import scan_file
from emdarks.frames.bad_frames import SKIP_SHARE
from emdarks.half_split import CheckReport, check_darks
from emdarks.report.bad_pixels import bad_pixel_page
from emdarks.report.compare import compare_views, comparison_section, matching_view
from emdarks.report.dark import dark_page
from emdarks.report.half_split import load_check, not_checked
from emdarks.report.inspection import campaign_page
from emdarks.report.maps import maps_page
from emdarks.report.page import Page, Section

Product = DetectorNoiseMaps | Dark | BadPixelMap
_KINDS: dict[str, type[Product]] = {
    "DetectorNoiseMaps": DetectorNoiseMaps,
    "Dark": Dark,
    "BadPixelMap": BadPixelMap,
}


def open_product(path: str | os.PathLike[str]) -> Product:
    """Read noise maps, a dark or a bad-pixel map, whichever the file holds.

    Raises
    ------
    InputError
        The file cannot be read, or holds none of these.
    """
    kind = _kind(path)
    if kind not in _KINDS:
        what = f"DATATYPE is {kind!r}" if kind else "it has no DATATYPE"
        raise InputError(
            f"{path}: is neither noise maps nor a master dark nor a bad-pixel map ({what})"
        )
    return _KINDS[kind](path)


def can_report(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds a product that there are reports of; reads its headers."""
    return _kind(path) in _KINDS


def _kind(path: str | os.PathLike[str]) -> Any:
    layout = scan_file(path)
    return layout.image.cards.get("DATATYPE", layout.primary.get("DATATYPE"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How frames are read: see `emdarks.darks.calibrate_darks_lsq`."""

    camera: str | Camera | None = None
    kgain: float | None = None
    mask_bits: int | None = None
    detector_params: Any = None
    skip_bad_frames: bool = False
    skip: Sequence[str] = ()
    skip_share: float = SKIP_SHARE
    executor: Executor | None = None

    def inspected(self, frames: Dataset) -> CampaignSummary:
        """Look at frames; none is left out, so that all bad ones are named."""
        names = ("camera", "kgain", "mask_bits", "detector_params", "executor")
        return inspect_campaign(frames, **{name: getattr(self, name) for name in names})

    def checked(self, frames: Dataset, view: MapsView) -> CheckReport:
        """Check frames against each other, by the estimator of maps made of them."""
        options = {each.name: getattr(self, each.name) for each in fields(self)}
        options["model"] = "level" if view.absent.any() else "full"
        counted = CountingSummary.of(view.product)
        if counted is not None:
            options |= {"estimator": "counting", "gain": counted.source}
            options["read_noise"] = counted.nominal_noise
        return check_darks(frames, **options)


def report_on(
    subject: Product | Dataset | str | os.PathLike[str],
    *,
    against: Product | str | os.PathLike[str] | None = None,
    frames: Dataset | None = None,
    check: CheckReport | str | os.PathLike[str] | None = None,
    name: str = "campaign",
    **reading: Any,
) -> Page:
    """Report on a product or a campaign.

    Parameters
    ----------
    subject : DetectorNoiseMaps, Dark, BadPixelMap, Dataset, str or path-like
        A product, the file of one, or the frames of a campaign.
    against : DetectorNoiseMaps, Dark, str or path-like, optional
        An earlier product of the same kind, to say whether the detector has changed; noise
        maps may stand for an earlier dark.
    frames : Dataset, optional
        The frames that noise maps were made of, to check their errors; each is read once.
    check : CheckReport, str or path-like, optional
        The result of an earlier check, or the file that ``emdarks check --json`` gave.
    name : str
        What to call a campaign.
    **reading
        How frames are read: camera, kgain, mask_bits, detector_params, skip_bad_frames, skip,
        skip_share, executor; see `emdarks.darks.calibrate_darks_lsq`.

    Returns
    -------
    Page
        With its verdict, advice and pictures; ``save`` writes it.

    Raises
    ------
    InputError
        Something cannot be read or compared.
    """
    how = Reading(**reading)
    if check is not None and frames is not None:
        raise InputError("give either the frames, to check them, or the result of a check")
    known = load_check(check) if isinstance(check, (str, os.PathLike)) else check
    if isinstance(subject, Dataset):
        if against is not None or frames is not None:
            raise InputError("a campaign is not compared with anything; give a product")
        return campaign_page(how.inspected(subject), name, known)
    product = _product(subject)
    if isinstance(product, BadPixelMap):
        if against is not None or frames is not None or known is not None:
            raise InputError(
                f"{product.filename}: is a bad-pixel map, which is neither compared nor checked"
            )
        return bad_pixel_page(BadPixelView(product))
    view = view_of(product, how.camera)
    sections, findings = _comparison(view, against, how.camera)
    if isinstance(view, MapsView):
        return _maps_page(view, known, frames, how, sections, findings)
    if frames is not None or known is not None:
        raise InputError(f"{view.name}: is a dark; the check of frames belongs to noise maps")
    return dark_page(view, sections, findings)


def _maps_page(
    view: MapsView,
    check: CheckReport | None,
    frames: Dataset | None,
    how: Reading,
    sections: list[Section],
    findings: list[Finding],
) -> Page:
    """The page of noise maps; their frames are checked where they are given."""
    unchecked = ""
    if frames is not None:
        try:
            check = how.checked(frames, view)
        except TooFewFramesError as error:
            unchecked = str(error)
            findings = [not_checked(unchecked), *findings]
        findings = [*_other_frames(view, frames), *findings]
    return maps_page(view, check, sections, findings, unchecked)


def write_report(
    subject: Product | Dataset | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    png: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Page:
    """Write a report: one HTML file that needs no other.

    Parameters
    ----------
    subject, **options
        As in `report_on`.
    path : str or path-like
        The file to write; an earlier one of that name is replaced.
    png : str or path-like, optional
        Folder that gets the figures as files, too.

    Returns
    -------
    Page
        What was written, with its verdict.

    Raises
    ------
    InputError
        Something cannot be read, compared or written.

    Examples
    --------
    >>> from emdarks.data import Dataset, sample
    >>> from emdarks.report import write_report
    >>> page = write_report(Dataset(sample()), "campaign.html")  # doctest: +SKIP
    >>> page.verdict.severity  # doctest: +SKIP
    'warning'
    """
    page = report_on(subject, **options)
    page.save(path, png)
    return page


def _product(given: Product | str | os.PathLike[str]) -> Product:
    if isinstance(given, (str, os.PathLike)):
        return open_product(given)
    return given


def _comparison(
    view: ProductView,
    against: Product | str | os.PathLike[str] | None,
    camera: str | Camera | None,
) -> tuple[list[Section], list[Finding]]:
    if against is None:
        return [], []
    earlier = _product(against)
    if isinstance(earlier, BadPixelMap):
        raise InputError(f"{earlier.filename}: is a bad-pixel map, which nothing is compared with")
    old = matching_view(view, view_of(earlier, camera), camera)
    return comparison_section(view, old, compare_views(view, old))


def _other_frames(view: MapsView, frames: Iterable[Any]) -> list[Finding]:
    """Whether frames are those that maps were made of."""
    if "INPUTS" not in view.product.hdu_names:
        return []
    used = {str(name) for name in view.product.hdu_list["INPUTS"].data["FILENAME"]}
    given = {str(getattr(frame, "filename", "")) for frame in frames}
    if used == given:
        return []
    return [
        Finding(
            "warning",
            "half split",
            f"The frames of the check are not those that the maps were made of: "
            f"{len(used - given)} of these are missing, {len(given - used)} are others.",
            remedy="Give the same frames, or fit the maps again.",
        )
    ]
