"""Findings and numbers in words, one way everywhere: the digits that count, counts, stacks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from emdarks.checks.finding import Finding
from emdarks.checks.summary import StackSummary

_NO_BREAK, _THIN = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
_EPOCH = datetime(1858, 11, 17)
_MINUS = "\N{MINUS SIGN}"
_NOTHING = "\N{EN DASH}"
#: Sides of an interval that differ by no more than this share are shown as one error.
_ALIKE = 0.1
_POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _typeset(text: str) -> str:
    """A number that Python wrote, with commas, as it is printed: minus sign, thousands apart.

    Four digits stay together; from five on thin spaces, where no line breaks, part thousands.
    """
    text = text.replace("-", _MINUS)
    return re.sub(r"[0-9]+(?:,[0-9]{3})+", _apart, text)


def _apart(match: re.Match[str]) -> str:
    digits = match.group()
    return digits.replace(",", _THIN if len(digits) > 5 else "")


def setting(value: float) -> str:
    """A gain or a time, all its digits, thousands apart."""
    return _typeset(f"{value:,.6g}")


#: Units that stay on the line of their number.
_UNITS = r"%|×|±|°C|e⁻|EM e⁻|s\b|min\b|h\b|DN\b|[kMGT]B\b|byte\b|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+|standard errors"
_BEFORE_UNIT = re.compile(rf"(?<=[0-9⁰¹²³⁴⁵⁶⁷⁸⁹]) (?={_UNITS})|(?<=[×±]) (?=[0-9{_MINUS}])")
_TIED_UNITS = re.compile(r"(?<=EM) (?=e⁻)|(?<=standard) (?=errors)")


def tied(text: str) -> str:
    """Text whose numbers stay on one line with what belongs to them: units, errors, powers."""
    text = re.sub(r"(?<=[0-9])%", f"{_NO_BREAK}%", text)
    return _TIED_UNITS.sub(_NO_BREAK, _BEFORE_UNIT.sub(_NO_BREAK, text))


def observed(begin: float, end: float) -> str:
    """When frames were taken, in words.

    Parameters
    ----------
    begin, end : float
        MJD (UTC) of the first and the last moment; NaN where unknown.
    """
    if not (math.isfinite(begin) and 0 < begin < 200_000):
        return "date of the observations: not stated"
    first = _EPOCH + timedelta(days=begin)
    last = _EPOCH + timedelta(days=end) if begin < end < 200_000 else first
    if first.date() == last.date():
        day, times = f"{first:%Y-%m-%d}", f"{first:%H:%M} to {last:%H:%M}"
        return f"observed {day}, {times if f'{first:%H:%M}' != f'{last:%H:%M}' else times[:5]} UTC"
    return f"observed {first:%Y-%m-%d} to {last:%Y-%m-%d} (UTC)"


def _decimals(value: float, digits: int) -> int:
    """Decimals that show so many digits that count."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def number(value: float, digits: int = 3) -> str:
    """A number with so many digits that count; a power of ten only where it is tiny or huge.

    Parameters
    ----------
    value : float
        NaN and infinity become a dash.
    digits : int
        Digits that count.
    """
    value = float(value)
    if not math.isfinite(value):
        return _NOTHING
    if value == 0:
        return "0"
    decimals = _decimals(value, digits)
    if decimals > 6 or abs(value) >= 1e9:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return _typeset(mantissa) + " × 10" + str(int(power)).translate(_POWERS)
    return _typeset(f"{value:,.{decimals}f}")


def signed(value: float, digits: int = 3) -> str:
    """A number that always shows its sign, such as a difference."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and math.isfinite(value) else text


def in_errors(deviation: float) -> str:
    """A deviation in standard errors, to a tenth of one."""
    if not math.isfinite(deviation):
        return _NOTHING
    # Adding 0 turns -0.0 into 0.0.
    return _typeset(f"{round(deviation, 1) + 0.0:+,.1f}")


def _power_of_ten(value: float, error: float) -> int:
    """The power that a small number and its error are written with; 0: none."""
    largest, decimals = max(abs(value), error), _decimals(error, 2)
    power = math.floor(math.log10(largest))
    return power if decimals > 6 and largest < 1e-3 and decimals + power <= 6 else 0


def measured(value: float, error: float) -> str:
    """A value with its error, both to the second digit of the error."""
    value, error = float(value), float(error)
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return number(value)
    if power := _power_of_ten(value, error):
        scaled = measured(value * 10.0**-power, error * 10.0**-power)
        return f"({scaled}) × 10{str(power).translate(_POWERS)}"
    decimals = _decimals(error, 2)
    if decimals > 7:
        return f"{number(value)} ± {number(error, 2)}"
    # Adding 0 turns -0.0 into 0.0.
    return _typeset(f"{round(value, decimals) + 0.0:,.{decimals}f} ± {error:,.{decimals}f}")


def between(value: float, low: float, high: float, whole: bool = False) -> str:
    """A value with its interval: one error where both sides are alike, else one for each side.

    Of an amplitude that may be 0, the interval alone.

    Parameters
    ----------
    value, low, high : float
        The value and the ends of the interval.
    whole : bool
        Whether it is a number of things.
    """
    above, below = high - value, value - low
    if not (math.isfinite(above) and math.isfinite(below) and max(above, below) > 0):
        return number(value)
    if 0 <= low <= value <= _ALIKE * high:
        return f"0 to {number(high, 2)}"
    if whole and max(above, below) < 0.5:
        return count(round(value))
    if abs(above - below) <= _ALIKE * max(above, below):
        error = (above + below) / 2
        return f"{count(round(value))} ± {count(round(error))}" if whole else measured(value, error)
    if power := _power_of_ten(value, max(above, below)):
        by = 10.0**-power
        scaled = between(value * by, low * by, high * by)
        return f"({scaled}) × 10{str(power).translate(_POWERS)}"
    decimals = 0 if whole else min(_decimals(max(above, below), 2), 7)
    numbers = (f"{round(x, decimals) + 0.0:,.{decimals}f}" for x in (value, above, below))
    return _typeset("{} +{} -{}".format(*numbers))


def count(value: float) -> str:
    """A whole number, thousands apart; NaN and infinity become a dash."""
    return _typeset(f"{int(value):,}") if math.isfinite(value) else _NOTHING


def percent(share: float) -> str:
    """A share in percent; a share that is not 0 never looks like it."""
    if not math.isfinite(share):
        return _NOTHING
    if share == 0:
        return "0 %"
    if abs(share) >= 0.0995:
        return _typeset(f"{100 * share:.0f} %")
    if abs(share) < 1e-5:
        return "below 0.001 %"
    return _typeset(f"{100 * share:.{_decimals(100 * share, 2)}f} %")


def size(nbytes: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("byte", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "byte" else f"{number(nbytes)} {unit}"
        nbytes /= 1000
    return f"{number(nbytes)} TB"


def value_in(value: float, unit: str, digits: int = 3) -> str:
    """A number with its unit, also one like 10⁻³ e⁻/s; a dash alone where there is none."""
    text = number(value, digits)
    if text == _NOTHING:
        return text
    return f"{text} × {unit}" if unit.startswith("10") else f"{text} {unit}"


# Findings

_SINGULAR = {"have": "has", "are": "is", "differ": "differs"}


def several(count: int, noun: str, verb: str = "") -> str:
    """A count in words: 1 frame has, 2 frames have."""
    words = (
        (str(count), noun, _SINGULAR.get(verb, ""))
        if count == 1
        else (str(count), f"{noun}s", verb)
    )
    return " ".join(words).rstrip()


def and_more(texts: Sequence[str], most: int = 3) -> str:
    """The first few texts, then a count."""
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def named(stacks: Iterable[StackSummary]) -> str:
    """A few stacks by name."""
    return and_more([f"({stack})" for stack in stacks])


def in_stacks(stacks: Iterable[StackSummary]) -> str:
    """Where something was found: each stack once."""
    return f"in {named(dict.fromkeys(stacks))}"


def in_words(finding: Finding) -> str:
    """A finding in one line: what was found, the first few files, what to do."""
    names = [Path(name).name for name in finding.frames if name not in finding.text]
    files = f" ({and_more(names)})" if any(names) else ""
    text = f"{finding.text}{files}"
    if not finding.remedy:
        return text
    return f"{text}{' ' if text.endswith('?') else '; '}{finding.remedy}"


def leave_out(count: int, and_look: str) -> str:
    """What to do about frames that should not be used."""
    return f"leave {'it' if count == 1 else 'them'} out; look {and_look}"


#: Names of commands and options are typed as they are, also where a sentence begins.
_TYPED = re.compile(r"(?:emdarks|--)")


def in_sentences(finding: Finding) -> Finding:
    """The same with sentences for text and remedy, as pages show them."""
    return replace(finding, text=_sentence(finding.text), remedy=_sentence(finding.remedy))


def _sentence(text: str) -> str:
    end = "" if not text or text.endswith(("?", ".")) else "."
    first = text[:1] if _TYPED.match(text) else text[:1].upper()
    return f"{first}{text[1:]}{end}"
