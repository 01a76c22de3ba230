"""Products of matrices that BLAS works out in the thread that calls it.

OpenBLAS shares a product out to threads from 2^18 multiplications on, and after each the other
threads wait at full load for the next, some hundredths of a second. In a fit, where thousands of
such products follow each other, that takes several times as long as the products themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Multiplications that OpenBLAS leaves to one thread.
ALONE = 1 << 18


def product(A: Array, B: Array) -> Array:
    """A @ B, a few rows of A at a time.

    Parameters
    ----------
    A : ndarray, shape (rows, inner)
        Any matrix.
    B : ndarray, shape (inner, columns)
        Few columns.

    Returns
    -------
    ndarray, shape (rows, columns)
        The same bits, however many threads BLAS may have.
    """
    step = max(1, ALONE // max(B.size, 1))
    if step >= len(A):
        whole: Array = A @ B
        return whole
    return np.concatenate([A[lo : lo + step] @ B for lo in range(0, len(A), step)])
