"""Avro: schemas, framings, strict datums, and whole batches as columns."""
