"""Faults on purpose while telemetry flows, and a judge that does not trust the pipeline."""
