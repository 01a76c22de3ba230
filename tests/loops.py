"""One test that loops over many values, where a test for each would cost more than it tells."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest


def for_each(
    names: str, values: Iterable[Any], ids: Callable[[Any], Any] = repr
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with every value, like ``pytest.mark.parametrize``, as a single test.

    Pytest collects one test and makes fixtures once: hundreds of short checks take milliseconds.
    All values are tried; those that fail are named. ``tmp_path`` is a new folder for every value;
    other fixtures are shared, so a test that changes them stays parametrized.

    Parameters
    ----------
    names : str
        Arguments of the test, separated by commas.
    values : iterable
        What they are given: a tuple each if there are several names.
    ids : callable, optional
        Gives the name of a value, for the list of failures.
    """
    arguments = [name.strip() for name in names.split(",")]
    table = list(values)
    assert table, "nothing to try"

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)
        kept = [p for name, p in signature.parameters.items() if name not in arguments]

        def loop(**fixtures: Any) -> None:
            failed = []
            for i, value in enumerate(table):
                own = dict(zip(arguments, value if len(arguments) > 1 else (value,), strict=True))
                try:
                    function(**_with_own_folder(fixtures, i), **own)
                except (Exception, pytest.fail.Exception) as error:
                    failed.append(_named(error, ids(value)))
            if failed:
                raise ExceptionGroup(f"{len(failed)} of {len(table)} values", failed)

        for name in ("__name__", "__doc__", "__module__", "__qualname__"):
            setattr(loop, name, getattr(function, name))
        loop.pytestmark = getattr(function, "pytestmark", [])  # type: ignore[attr-defined]
        loop.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return loop

    return decorate


def _with_own_folder(fixtures: dict[str, Any], number: int) -> dict[str, Any]:
    folder: Path | None = fixtures.get("tmp_path")
    if folder is None:
        return fixtures
    own = folder / str(number)
    own.mkdir()
    return fixtures | {"tmp_path": own}


def _named(error: BaseException, name: Any) -> Exception:
    if not isinstance(error, Exception):  # of pytest.raises and pytest.fail
        error = AssertionError(str(error)).with_traceback(error.__traceback__)
    error.add_note(f"with {name}")
    return error
