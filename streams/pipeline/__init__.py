"""The way of an event from its bytes to its alert: it sees ports, not Kafka or Redis."""
