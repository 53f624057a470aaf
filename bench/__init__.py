"""Benches: `python -m bench NAME`. Each starts its own parts, prints a table, and with --json one object."""
