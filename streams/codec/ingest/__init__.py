"""Bytes of senders to columns of events, and back for those who send."""
