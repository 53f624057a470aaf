"""Brokers and Redis started by us, for the demonstration, the tests and the benches."""
