"""The loop over values fails for every value that fails, and names it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from loops import for_each


def test_a_loop_names_what_failed() -> None:
    seen = []

    @for_each("number, word", [(1, "a"), (2, "b"), (3, "c")])
    def check(number: int, word: str) -> None:
        seen.append(word)
        assert number != 2
        if number == 3:
            pytest.fail("three")

    with pytest.raises(ExceptionGroup, match="2 of 3 values") as caught:
        check()
    assert seen == ["a", "b", "c"]
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["with (2, 'b')"],
        ["with (3, 'c')"],
    ]


@for_each("word", ["a", "b"])
def test_every_value_has_its_own_folder(tmp_path: Path, word: str) -> None:
    assert list(tmp_path.iterdir()) == []
    (tmp_path / word).touch()


@pytest.fixture
def shared() -> SimpleNamespace:
    return SimpleNamespace(seen=[])


@for_each("word", ["a", "b"])
@for_each("number", [1, 2])
def test_loops_may_be_nested(shared: SimpleNamespace, number: int, word: str) -> None:
    shared.seen.append((word, number))
    assert len(set(shared.seen)) == len(shared.seen)


def test_nothing_to_try_is_an_error() -> None:
    with pytest.raises(AssertionError, match="nothing to try"):
        for_each("word", [])
