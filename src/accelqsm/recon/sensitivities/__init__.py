"""Receive sensitivities, from the centre of k-space and from what lies around it."""
