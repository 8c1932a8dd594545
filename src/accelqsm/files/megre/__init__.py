"""Multi-echo gradient-echo images (BIDS MEGRE): magnitude and phase files with sidecars."""
