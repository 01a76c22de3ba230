"""Are arguments what they must be? One line says what a caller gave instead."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from numbers import Real
from typing import Any

import numpy as np

from emdarks.errors import InputError

__all__ = ["check_flag", "check_names", "is_number", "is_whole", "whole_number"]


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond floating point
        return False


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, of whatever type (16.0 is one)."""
    return is_number(value) and value == int(value)


def whole_number(name: str, value: Any, least: int, most: int) -> int:
    """An integer from ``least`` to ``most``.

    Raises
    ------
    InputError
        It is none.
    """
    if not is_whole(value) or not least <= value <= most:
        raise InputError(f"{name} is {value!r}; it must be an integer from {least} to {most}")
    return int(value)


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither True nor False.

    Raises
    ------
    InputError
        It is neither.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} is {value!r}; it must be True or False")


def check_names(name: str, values: Any, known: Collection[str]) -> None:
    """Refuse what is no sequence of known names.

    Raises
    ------
    InputError
        It is none, or a name is not known.
    """
    names = ", ".join(known)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{name} is {values!r}; give a sequence of names out of {names}")
    for value in values:
        if not isinstance(value, str) or value not in known:
            raise InputError(f"{name} is {value!r}; it must be one of {names}")
