"""The compiled core: what `src/core` binds."""

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

#: Instruction levels that this machine has, best first, and the one that is used.
levels: list[str]
level: str
#: Hash of the sources that the core was built from.
sources: str

def to_native(words: Array, swap: bool = True, flip: int = 0) -> None: ...
