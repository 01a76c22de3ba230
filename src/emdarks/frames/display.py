"""How frames and products show themselves: in notebooks, and as plots.

The code for that, `emdarks.show`, knows Matplotlib and all products, and so lies far above.
It is imported when one of these methods is called: the one import in the package that
points up. Importing emdarks loads no Matplotlib.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Plotted", "Shown"]


def _show() -> Any:
    from emdarks import show

    return show


class Shown:
    """Objects that notebooks show as a small table and a picture."""

    def _repr_html_(self) -> str:
        return str(_show().html(self))


class Plotted(Shown):
    """Objects that plot themselves."""

    def plot(self, ax: Any = None, *, flagged: bool = False) -> Any:
        """Show the pixels as a map.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure (``.figure`` of the result) by default. Noise maps
            take three axes, for F, C and D.
        flagged : bool
            Show flagged pixels, too; by default they are grey.

        Returns
        -------
        matplotlib.axes.Axes, or an array of three
            Where it was drawn.

        Raises
        ------
        InputError
            There is no map to show: the pixels have more than two axes.
        """
        return _show().plot(self, ax, flagged)

    def plot_histogram(self, ax: Any = None, *, bins: int = 100, flagged: bool = False) -> Any:
        """Show how the values of the pixels are distributed.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            As for `plot`.
        bins : int
            Number of bins, over the central 99.8 % of the values.
        flagged : bool
            Count flagged pixels, too.

        Returns
        -------
        matplotlib.axes.Axes, or an array of three
            Where it was drawn.

        Raises
        ------
        InputError
            As for `plot`.
        """
        return _show().plot_histogram(self, ax, bins, flagged)
