"""The demonstration on flows: a fleet's connections as Zeek would write them."""
