"""The product of the fit: maps of fixed-pattern noise, clock-induced charge, dark current."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emdarks.arguments import is_number
from emdarks.cameras import HeaderRules
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import astropy_fits as fits
from emdarks.fits import unpacked
from emdarks.frames import FrameInput
from emdarks.frames.html import Picture, Rows, size_text
from emdarks.products.dark import Dark
from emdarks.products.electron_step import electron_step, stacks_in_history, stacks_of_table
from emdarks.products.header import NOT_SUPPLIED, merge_headers, stamp
from emdarks.products.model import absent_planes, check_model, model_of
from emdarks.products.noise_maps_file import (
    FORMAT_VERSION,
    MEANS,
    NUMBERS,
    VARIANCES,
    check_format,
    check_hdus,
    histogram_hdu,
    image_hdus,
    is_complete,
    stacks_hdu,
    write_numbers,
)
from emdarks.products.product import Product
from emdarks.products.provenance import input_names, inputs_hdu, name_inputs
from emdarks.products.synthesis import DarkSetting, Maps, check_signs, count_law, dark_from_maps
from emdarks.products.validation import (
    check_electrons,
    check_numbers,
    check_planes_there,
    flag_unusable,
)

Array = npt.NDArray[Any]

#: The planes, by the names that the keyword ``nonnegative`` uses.
PLANES = ("FPN", "CIC", "DC")

#: Names and units of the planes, for those who look at them.
_MAPS = (
    ("fixed-pattern noise F", "EM electrons"),
    ("clock-induced charge C", "electrons per frame"),
    ("dark current D", "electrons per second"),
)


def clip_planes(values: Array, nonnegative: tuple[str, ...]) -> Array:
    """Copy of F, C, D in which negative values of the named planes are 0 (NaN stays)."""
    clipped = values.copy()
    for plane, name in zip(clipped, PLANES, strict=True):
        if name in nonnegative:
            plane[plane < 0] = 0.0
    return clipped


class DetectorNoiseMaps(Product):
    """Maps of fixed-pattern noise, clock-induced charge and dark current.

    Parameters
    ----------
    data_or_filepath : str, path-like or array_like
        A file, or the planes F (EM electrons), C (electrons per pixel and frame), D
        (electrons per pixel and second), shape (3, rows, columns).
    pri_hdr, ext_hdr, input_dataset, err, dq, err_hdr, dq_hdr, input_hdulist
        For a new one: headers (with B_O and B_O_ERR), the frames it was made of
        (or DRPNFILE in ``ext_hdr``), errors of shape (1, 3, rows, columns), flags of
        shape (3, rows, columns), further HDUs; see `Image`.

    Attributes
    ----------
    FPN_map, CIC_map, DC_map : ndarray, shape (rows, columns)
        The planes.
    FPN_err, CIC_err, DC_err : ndarray, shape (rows, columns)
        Their errors.
    bias_offset, bias_offset_err : float
        What the bias subtraction left in the prescan, DN.

    Raises
    ------
    InputError
        Shapes are wrong, B_O or B_O_ERR is missing, or the file holds something else.
    """

    _DATATYPE, _KIND, _SUFFIX = "DetectorNoiseMaps", "file of noise maps", "_dnm_cal"

    @classmethod
    def from_fit(
        cls,
        fit: Any,
        numbers: Mapping[str, float],
        counts: Mapping[str, Array],
        stacks: Mapping[str, Sequence[Any]],
        inputs: Sequence[FrameInput],
        stack_of_input: Sequence[int],
        rules: HeaderRules,
        choices: Mapping[str, tuple[Any, str]],
    ) -> Self:
        """Make the product of a fit.

        Parameters
        ----------
        fit : Fit of ``emdarks.fit``
            Its planes, flat in pixels, D already 0 outside the imaging area.
        numbers : mapping of str to float
            Cards ``NUMBERS`` of the file format; NaN is -999 in the header.
        counts : mapping of str to ndarray, shape (rows, columns)
            NBAD, stacks in which more than half of the frames are masked; with screening
            REJECTED, samples that it took out.
        stacks : mapping of str to sequence
            Columns of the table STACKS.
        inputs : sequence of FrameInput
            The frames, in input order.
        stack_of_input : sequence of int
            Index of the stack of each.
        rules : HeaderRules
            How their headers merge.
        choices : mapping of str to (value, comment)
            Cards that record the options, NONNEG and MODEL among them.
        """
        headers = _merged(inputs, rules)
        ext = headers["ext"]
        write_numbers(ext, numbers, model_of({"MODEL": choices.get("MODEL", ("",))[0]}))
        version = {"FMTVERS": (FORMAT_VERSION, "version of this format")}
        for keyword, card in {**choices, **version}.items():
            ext[keyword] = card
        stamp(ext)
        plane = counts["NBAD"].shape
        signed = fit.values.reshape(3, *plane)
        images = {
            "SIGNED": signed,
            "CORR": fit.correlations.reshape(3, *plane),
            "CHI2": fit.chi2.reshape(plane),
            "RSQ": fit.r_squared.reshape(plane),
            "NSTACKS": fit.stacks_used.reshape(plane),
            **counts,
        }
        hdus = [*image_hdus(images), stacks_hdu(stacks), inputs_hdu(inputs, stack_of_input)]
        maps = cls(
            clip_planes(signed, tuple(choices["NONNEG"][0].split(","))),
            headers["pri"],
            ext,
            None,
            fit.errors.reshape(1, 3, *plane),
            np.repeat(fit.dq.reshape(1, *plane), 3, axis=0),
            headers["err"],
            headers["dq"],
            hdus,
        )
        maps.ext_hdr["HISTORY"] = _stacks_history(stacks)
        maps.named_after(inputs[-1].provenance.name)
        return maps

    @classmethod
    def of_object(cls, maps: Any) -> Self:
        """Noise maps that an object of another class holds, such as one of the reference's.

        Parameters
        ----------
        maps : DetectorNoiseMaps, or an object like it
            Its arrays are shared, its headers copied. Further HDUs (``hdu_list``), such as those
            of a file of ours, count as in a file.

        Raises
        ------
        InputError
            What it holds would make results wrong; see ``products.validation``.
        """
        if isinstance(maps, cls):
            return maps
        own = cls.__new__(cls)
        own._begin()
        own.filename = str(getattr(maps, "filename", "") or "")
        own.filedir = str(getattr(maps, "filedir", "") or ".")
        own.data, own.err, own.dq = maps.data, maps.err, maps.dq
        for name in ("pri", "ext", "err", "dq"):
            header = getattr(maps, f"{name}_hdr", None)
            own._headers[name] = fits.Header() if header is None else fits.Header(header, copy=True)
        hdus = getattr(maps, "hdu_list", None)
        own._hdu_list = fits.HDUList([unpacked(hdu) for hdu in hdus or ()])
        if hdus is None:  # of no format of ours
            own.ext_hdr.remove("FMTVERS", ignore_missing=True)
        own._check_shapes()
        own._complete_header()
        own._check_file()
        return own

    def record_histogram(self, columns: Mapping[str, npt.ArrayLike]) -> None:
        """Keep histograms of the samples of each stack: table ``HISTOGRAM``."""
        self.hdu_list.append(histogram_hdu(columns))

    def _check_shapes(self) -> None:
        if self.data.ndim != 3 or len(self.data) != 3:
            raise InputError(
                f"{self.filepath}: noise maps have 3 planes, not the shape {self.data.shape}"
            )
        if self.err.ndim != 4 or len(self.err) != 1:
            raise InputError(
                f"{self.filepath}: err of noise maps has shape (1, 3, rows, columns), "
                f"not {self.err.shape}"
            )

    def _describe(self) -> None:
        ext = self.ext_hdr
        if not is_complete(self.hdu_names):
            ext.remove("FMTVERS", ignore_missing=True)
        ext["BUNIT"] = self.err_hdr["BUNIT"] = "detected electron"
        ext["B_O_UNIT"] = "DN"
        ext["HISTORY"] = "DetectorNoiseMaps calibration file created"

    def _complete_header(self) -> None:
        for key in ("B_O", "B_O_ERR"):
            if key not in self.ext_hdr:
                raise InputError(f"{self.filepath}: noise maps need {key} in the header")
        for key in (*MEANS, "FPN_IMME"):
            self.ext_hdr.setdefault(key, (NOT_SUPPLIED, NUMBERS[key]))

    def _check_file(self) -> None:
        numbers = ("B_O", "B_O_ERR", "RN_EST", *MEANS, "FPN_IMME", *VARIANCES)
        check_numbers(self, ("FMTVERS", *numbers))
        check_format(self)
        if self.layout is not None:
            check_planes_there(self)
        check_electrons(self)
        check_hdus(self)
        check_model(self.ext_hdr, str(self.filepath))
        present = ~absent_planes(self.ext_hdr)
        corr = self.extra("CORR")
        if corr is not None:
            corr = corr[[present[a] & present[b] for a, b in ((0, 1), (0, 2), (1, 2))]]
        flag_unusable(self, corr, present)

    FPN_map = property(lambda self: self.data[0], doc="Fixed-pattern noise, EM electrons.")
    CIC_map = property(lambda self: self.data[1], doc="Clock-induced charge, e-/pixel/frame.")
    DC_map = property(lambda self: self.data[2], doc="Dark current, e-/pixel/s.")
    FPN_err = property(lambda self: self.err[0, 0], doc="Error of FPN_map.")
    CIC_err = property(lambda self: self.err[0, 1], doc="Error of CIC_map.")
    DC_err = property(lambda self: self.err[0, 2], doc="Error of DC_map.")
    bias_offset = property(lambda self: self.ext_hdr["B_O"], doc="Bias offset, DN.")
    bias_offset_err = property(lambda self: self.ext_hdr["B_O_ERR"], doc="Its error, DN.")

    def extra(self, name: str) -> Array | None:
        """Data of a further HDU (SIGNED, CORR, CHI2, RSQ, NSTACKS, NBAD), or None."""
        if name not in self.hdu_names:
            return None
        return np.asarray(self.hdu_list[name].data)

    def planes_for_darks(self, use_signed: bool = True) -> tuple[Maps, str]:
        """Planes that darks are made from, and which they are, in words.

        The signed fit with its correlations, where the product has it and, pixel by pixel,
        its clip equals the published planes (somebody may have edited them); clipped planes
        would bias every dark upwards.

        Parameters
        ----------
        use_signed : bool
            False takes the published planes.

        Raises
        ------
        InputTypeError
            Published C or D that darks would be made from are negative.
        """
        signed = self.extra("SIGNED") if use_signed else None
        if signed is None:
            check_signs(self.data, self.filename)
            return self._complete(self.data, None), "the published maps"
        values = signed.astype(np.float64)
        clipped = clip_planes(values, self._nonnegative())
        corr = self.extra("CORR")
        own = ((clipped == self.data) | (np.isnan(clipped) & np.isnan(self.data))).all(axis=0)
        if own.all():
            return self._complete(values, corr), "the signed maps"
        check_signs(self.data[:, ~own], self.filename)
        warnings.warn(
            f"{self.filename}: in {np.count_nonzero(~own)} pixels the published maps are not those "
            "of the fit any more; there darks are made from the published ones, without "
            "correlations",
            EmdarksWarning,
            stacklevel=3,
        )
        corr = None if corr is None else np.where(own, corr, 0.0)
        return (
            self._complete(np.where(own, values, self.data), corr),
            "the signed maps (the published ones where they were edited)",
        )

    def _complete(self, values: Array, corr: Array | None) -> Maps:
        """Planes that darks are made from: of two maps, the third adds nothing."""
        absent = absent_planes(self.ext_hdr)
        if not absent.any():
            return Maps(values, self.err[0], corr, self.dq)
        values, errors, dq = values.copy(), self.err[0].copy(), self.dq.copy()
        values[absent], errors[absent], dq[absent] = 0.0, 0.0, 0
        if corr is not None:
            corr = corr.copy()
            corr[[absent[1], absent[2], absent[1] or absent[2]]] = 0.0
        return Maps(values, errors, corr, dq)

    def synthesize(
        self,
        gain: float,
        exptime: float,
        kgain: float | None = None,
        section: tuple[slice, slice] | None = None,
        use_signed: bool = True,
        threshold: float | None = None,
        read_noise: float | None = None,
    ) -> Dark:
        """Make a dark for any EM gain and exposure time: F/g + C + t D.

        With a threshold, the photon-counted dark of such frames: the rate C + t D as counts above
        the threshold show it, which F moves, and the expected counts themselves.

        Parameters
        ----------
        gain : float
            EM gain, at least 1.
        exptime : float
            Seconds, not negative.
        kgain : float, optional
            Electrons per DN, for the header; that of the stacks, by default.
        section : tuple of slices, optional
            Part of the frame; all of it by default.
        use_signed : bool
            See `planes_for_darks`.
        threshold : float, optional
            For a photon-counted dark: the threshold, EM electrons above the bias.
        read_noise : float, optional
            For a photon-counted dark, EM electrons; by default that of the maps' header (RN),
            else of their camera.

        Returns
        -------
        Dark
            In detected electrons, with honest errors where the maps carry the
            correlations between F, C and D. A photon-counted one has the HDUs ``COUNTS`` and
            ``COUNTERR``, the expected counts of a pixel in a frame and their error.

        Raises
        ------
        InputError
            Gain or time is out of range, or another one than that of all stacks of two maps
            (``model="level"`` of `emdarks.darks.calibrate_darks_lsq`).

        Examples
        --------
        >>> from emdarks import Dataset, calibrate_darks_lsq
        >>> from emdarks.data import sample
        >>> dark = calibrate_darks_lsq(Dataset(sample()), None).synthesize(2000, 30)
        >>> dark.data.shape, dark.ext_hdr["KGAINPAR"]
        ((40, 62), 8.7)
        """
        if not is_number(gain) or gain < 1:
            raise InputError(f"the EM gain is {gain}; it must be a number, at least 1")
        if not is_number(exptime) or exptime < 0:
            raise InputError(f"the exposure time is {exptime} s; it must be a number, not negative")
        if kgain is not None and not (is_number(kgain) and kgain > 0):
            raise InputError(f"the k-gain is {kgain}; it must be positive and finite")
        planes, which = self.planes_for_darks(use_signed)
        if section is not None:
            planes = planes.cut(section)
        k_gain = self._k_gain() if kgain is None else kgain
        law = count_law(self, gain, threshold, read_noise)
        return dark_from_maps(self, planes, DarkSetting(gain, gain, exptime, k_gain), which, law)

    def systematics(self, gain: float, exptime: float) -> dict[str, Any]:
        """How a synthesised dark moves with errors of EM gain and k-gain, image means.

        Parameters
        ----------
        gain, exptime : float
            EM gain and exposure time (s) of the dark.

        Returns
        -------
        dict
            Detected electrons per unit of relative error, for a value that was used too
            large: "stacks", one value per stack for that stack's gain; "all_gains", for all
            of them together (the dark's own gain included); "k_gain".

        Raises
        ------
        InputError
            The product has no such derivatives.
        """
        if absent_planes(self.ext_hdr)[1]:
            raise InputError(
                f"{self.filepath}: how errors of the EM gain move a dark depends on C, which maps "
                "of stacks of one gain do not tell"
            )
        names = ("DFPN_DG", "DCIC_DG", "DDC_DG")
        table = self.table("STACKS")
        if table is None or names[0] not in table.names:
            raise InputError(f"{self.filename}: has no derivatives to the EM gain")
        present = ~absent_planes(self.ext_hdr)
        weights = np.array([1.0 / gain, 1.0, exptime])[present]
        keys = np.array(MEANS)[present]
        dark = float(weights @ np.array([self.ext_hdr[str(key)] for key in keys]))
        moved = np.column_stack([np.asarray(table[name]) for name in names])
        return {
            "stacks": moved[:, present] @ weights,
            "all_gains": -dark,
            "k_gain": dark,
        }

    def electron_step(self, weights: npt.ArrayLike) -> float | None:
        """What one average electron of one sample does to a combination of F, C and D.

        Parameters
        ----------
        weights : array_like, shape (3,)
            Of F, C and D: (0, 0, 1) for the dark current, (1/g, 1, t) for a dark.

        Returns
        -------
        float or None
            See ``products.electron_step``; None where neither the table STACKS nor HISTORY
            names the stacks.
        """
        table = self.table("STACKS")
        known = stacks_in_history(self.ext_hdr) if table is None else stacks_of_table(table)
        return known and electron_step(known, ~absent_planes(self.ext_hdr), weights)

    def _k_gain(self) -> float:
        """K-gain that all stacks have in common."""
        table = self.table("STACKS")
        values = [] if table is None else [float(k) for k in np.unique(table["KGAINPAR"])]
        if len(values) == 1 and 0 < values[0] < np.inf:
            return values[0]
        warnings.warn(
            f"{self.filename}: the stacks have no common k-gain; the dark's KGAINPAR is "
            "-999 and will match no frame. Give kgain",
            EmdarksWarning,
            stacklevel=3,
        )
        return NOT_SUPPLIED

    def to_ccddata(self, unit: Any = None, plane: str = "DC") -> Any:
        """Copy one of the maps into a `astropy.nddata.CCDData`; see `Image.to_ccddata`.

        Parameters
        ----------
        unit : astropy.units.Unit or str, optional
            Electrons for F and C, electrons per second for D, by default.
        plane : {"FPN", "CIC", "DC"}
            Which map: a CCDData has one unit, and the maps have not.

        Raises
        ------
        InputError
            There is no such map.
        """
        from emdarks.frames.ccddata import ccddata

        if plane not in PLANES:
            raise InputError(f"plane is {plane!r}; it must be one of {', '.join(PLANES)}")
        i = PLANES.index(plane)
        if absent_planes(self.ext_hdr)[i]:
            raise InputError(
                f"{self.filename}: are two maps (MODEL {model_of(self.ext_hdr)}), without {plane}"
            )
        known = ("electron", "electron", "electron / s")[i] if unit is None else unit
        header = self.ext_hdr.copy()
        header["BUNIT"], header["EXTNAME"] = str(known), plane
        return ccddata(self.data[i], self.err[0, i], self.dq[i], header, known)

    @classmethod
    def from_ccddata(cls, ccd: Any, pri_hdr: fits.Header | None = None) -> Self:
        """Refuse: a CCDData holds one map, not three.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("noise maps cannot be made of a CCDData, which holds one map of three")

    def plot(self, ax: Any = None, *, flagged: bool = False) -> Any:
        """Show the maps side by side; see `Image.plot`.

        Returns
        -------
        ndarray of matplotlib.axes.Axes, shape (3,)
            For F, C and D. Those of a map that there is not are empty.

        Raises
        ------
        InputError
            There are not three axes.
        """
        from emdarks import plots

        axes = self._three_axes(ax)
        for i, name, unit in self._present():
            values = self._values(i, flagged)
            plots.show_map(values, name, unit, both_signs=i == 0, ax=axes[i])
        return axes

    def plot_histogram(self, ax: Any = None, *, bins: int = 100, flagged: bool = False) -> Any:
        """Show how the values of the maps are distributed; see `Image.plot_histogram`.

        Returns
        -------
        ndarray of matplotlib.axes.Axes, shape (3,)
            As for `plot`.
        """
        from emdarks import plots

        axes = self._three_axes(ax)
        for i, name, unit in self._present():
            plots.value_histogram(self._values(i, flagged), name, unit, bins=bins, ax=axes[i])
        return axes

    def _present(self) -> list[tuple[int, str, str]]:
        """Index, name and unit of each map that there is."""
        absent = absent_planes(self.ext_hdr)
        named = list(_MAPS)
        if absent[1]:
            named[0] = ("level L = F + g C", "EM electrons")
        if absent[2]:
            named[1] = ("charge C + t D", "electrons per frame")
        return [(i, *words) for i, words in enumerate(named) if not absent[i]]

    def _three_axes(self, ax: Any) -> Array:
        """Three axes: those given, or new ones side by side; without a map they are empty."""
        from emdarks import plots

        given = plots.new_figure(12.3, 3.6).subplots(1, 3) if ax is None else ax
        three = np.asarray(given, dtype=object).reshape(-1)
        if three.size != 3:
            raise InputError(f"noise maps are three maps: give three axes, not {three.size}")
        for i in np.flatnonzero(absent_planes(self.ext_hdr)):
            three[i].set_axis_off()
        return three

    def _values(self, i: int, flagged: bool) -> Array:
        return self.data[i] if flagged else np.where(self.dq[i] == 0, self.data[i], np.nan)

    def _rows(self) -> Rows:
        ext = self.ext_hdr
        rows = [("shape", size_text(self.shape))]
        for i, name, unit in self._present():
            # Where there is no dark current by definition, its error is 0.
            errors = self.err[0, i][self.err[0, i] > 0]
            error = float(np.median(errors)) if errors.size else float("nan")
            mean = ext[MEANS[i]]
            known = "not known" if mean == NOT_SUPPLIED else f"{mean:.4g}"
            rows.append((f"{name}, {unit}", f"image mean {known}, error of a pixel {error:.2g}"))
        rows.append(("bias offset, DN", f"{self.bias_offset:.4g}"))
        if (table := self.table("STACKS")) is not None:
            rows.append(("stacks", str(len(table))))
        counts = (("frames", "NFRAMES"), ("input files", "DRPNFILE"))
        return rows + [(name, str(ext[key])) for name, key in counts if key in ext]

    def _pictures(self) -> Iterator[Picture]:
        from emdarks import plots

        for i, name, _ in self._present():
            yield name, plots.thumbnail(self.data[i], both_signs=i == 0)

    def _facts(self) -> list[str]:
        model = model_of(self.ext_hdr)
        means = (
            ("FPN_IMM", f"{'L' if model == 'one-gain' else 'F'} {{:.3g}} e-"),
            ("CIC_IMM", f"{'C + t D' if model == 'one-time' else 'C'} {{:.3g}} e-"),
            ("DC_IMM", "D {:.3g} e-/s"),
        )
        ext = self.ext_hdr
        facts = [words.format(ext[key]) for key, words in means if ext[key] != NOT_SUPPLIED]
        found = [f"image means {' '.join(facts)}"] if facts else []
        return [f"model {model}", *found] if model != "full" else found

    def _nonnegative(self) -> tuple[str, ...]:
        names = str(self.ext_hdr.get("NONNEG", "CIC,DC"))
        return tuple(name.strip() for name in names.split(",") if name.strip())


def _merged(inputs: Sequence[FrameInput], rules: HeaderRules) -> dict[str, fits.Header]:
    """Headers of the frames as those of maps, which have no gain and no time of their own."""
    kept = set(rules.kept_in_darks) - set(rules.invalid_in_maps)
    invalid = {*rules.invalid, *rules.invalid_in_maps} - kept
    headers = merge_headers(inputs, rules, invalid)
    ext = headers["ext"]
    for keyword in set(rules.invalid_in_maps) & set(ext):
        ext[keyword] = int(NOT_SUPPLIED) if keyword == "HVCBIAS" else NOT_SUPPLIED
    name_inputs(ext, input_names(inputs), len(inputs), len(inputs))
    return headers


def _stacks_history(stacks: Mapping[str, Sequence[Any]]) -> str:
    columns = (stacks[name] for name in ("EXPTIME", "EMGAIN", "GOOD"))
    rows = [[float(value) for value in row] for row in zip(*columns, strict=True)]
    return (
        "Noise maps were fitted to these stacks, each as exposure time (s), EM gain and "
        f"mean number of good frames: {rows}"
    )
