"""For users: reading alerts, sending records and orders."""
