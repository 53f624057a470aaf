"""The demonstration: simulated devices, and a live view of what the detector says of them."""
