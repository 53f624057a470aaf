"""The outside world: Kafka, Redis, model stores, the schema registry; one package each."""
