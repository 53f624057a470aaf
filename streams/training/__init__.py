"""Data sets, fitting and evaluation of the detector."""
