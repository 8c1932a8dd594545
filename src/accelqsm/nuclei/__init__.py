"""Registration, label propagation and measurement of deep-brain nuclei."""
