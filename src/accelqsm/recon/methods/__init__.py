"""The reconstructions, one file each; rows of ``recon.registry`` name them."""
