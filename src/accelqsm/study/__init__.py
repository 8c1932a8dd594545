"""Studies: every scan of a BIDS dataset through the same steps, each of them once."""
