"""The Kafka adapters: chunked Faust transport, publisher, topics."""
