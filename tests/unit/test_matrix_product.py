"""Products of matrices in pieces that BLAS leaves to one thread."""

from __future__ import annotations

import numpy as np
import pytest

from emdarks.fit.matrix_product import ALONE, product


@pytest.mark.parametrize("rows", [0, 1, 7, 32, 33, 100])
@pytest.mark.parametrize(("inner", "columns"), [(1, 1), (1024, 8), (ALONE, 3)])
def test_pieces_are_the_whole(rows: int, inner: int, columns: int) -> None:
    rng = np.random.default_rng(1)
    A, B = rng.integers(-9, 9, (rows, inner)) * 1.0, rng.integers(-9, 9, (inner, columns)) * 1.0
    # Sums of whole numbers are exact in any order.
    np.testing.assert_array_equal(product(A, B), A @ B)
    np.testing.assert_array_equal(product(A, np.asfortranarray(B)), A @ B)
