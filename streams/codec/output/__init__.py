"""Values to the bytes that consumers read."""
