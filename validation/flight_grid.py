"""EM gains and exposure times (s) of `validation.flight`: the grid real16 of the other pages."""

GAINS, TIMES = (2.0, 50.0, 500.0, 5000.0), (2.0, 10.0, 40.0, 100.0)
