"""The pure middle: what a record means, how a window advances, what the model computes. No I/O, no clock."""
