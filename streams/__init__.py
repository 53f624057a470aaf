"""AutoDeep-ID: intrusion detection for IoT fleets as a Kafka stream processor."""

__version__ = "0.1.0"
