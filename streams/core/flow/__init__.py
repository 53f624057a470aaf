"""What a device's flows say together: its state, and the features of each flow in the light of it. Pure.

columns.py      flows of many devices as columns
state.py        what is kept of a device, packed
repeats.py      which records were there before
settling.py     halves are joined, interim records become one flow, waiting ones are let go
familiar.py     what a device did before, over days
regular.py      how regularly a device comes back to a peer and port
tape.py         the connections before each flow, laid out so that all flows are compared at once
comparison.py   windows of 2 s, 60 s, 1 h and the last 100 connections
table.py        the feature table `flow`
features.py     all of it: states and flows in, rows and states out
"""
