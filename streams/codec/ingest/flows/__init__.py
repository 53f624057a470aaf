"""Sensors' records to canonical flows: one module a dialect, told apart by content."""
