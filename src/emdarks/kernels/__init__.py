"""Compiled loops over arrays: no files, no headers, no logging.

`decode` turns stored bytes into numbers, `moments` accumulates and merges the
sums of a stack, `figures` takes the figures of single frames, `fit` solves
for the three parameters pixel by pixel. Every kernel has a slow, obvious
NumPy twin in the tests. All release the interpreter lock.
"""
