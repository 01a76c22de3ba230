"""Where the bias of a raw frame comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from emdarks import _core
from emdarks.errors import InputError


@dataclass(frozen=True, slots=True)
class RowBias:
    """Bias of the rows of a frame, b_r = m_r - B_O (corgidrp 5.1.1, ``prescan_biassub``).

    Method page, eq. 16 (rowbias).

    Attributes
    ----------
    source : {"row", "frame", "level"}
        m_r is the median of the bias columns of row r (of an even number the mean of the two in
        the middle), that of the bias columns of all rows together, or a fixed level.
    columns : tuple of int
        First and last-plus-one bias column.
    level : float
        The fixed level, DN.
    num_stds : float
        With M and S the median and standard deviation of all m_r of the frame, outliers included,
        m_r becomes M where ``|m_r - M| > num_stds * S``: a bright streak through the bias columns
        spoils a few rows.
    below : float
        Stored numbers from here on do not count: they are saturated, where a camera knows that.
    offset, offset_error : float
        B_O and its error, DN, from the noise maps.
    with_errors : bool
        Whether the errors of the rows are errors of the frame, too.

    Raises
    ------
    InputError
        The columns are no range, or a number is not finite.
    """

    source: Literal["row", "frame", "level"] = "row"
    columns: tuple[int, int] = (0, 0)
    level: float = 0.0
    num_stds: float = 5.0
    below: float = math.inf
    offset: float = 0.0
    offset_error: float = 0.0
    with_errors: bool = True

    def __post_init__(self) -> None:
        self.rule()

    @property
    def has_errors(self) -> bool:
        """Whether the bias of a row has an error."""
        return self.with_errors and (self.source != "level" or self.offset_error != 0.0)

    def rule(self) -> _core.BiasRule:
        """The same for the compiled core."""
        try:
            return _core.BiasRule(
                self.source,
                self.level,
                self.columns,
                self.num_stds,
                self.below,
                self.offset,
                self.offset_error,
            )
        except ValueError as error:
            raise InputError(f"bias of raw frames: {error}") from None
