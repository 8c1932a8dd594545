"""Reconstruction methods, one file each, listed in ``recon.registry``."""
