"""Devices and attack tools in network namespaces, real sensors beside ours, Kafka, a worker: `make lab`."""
