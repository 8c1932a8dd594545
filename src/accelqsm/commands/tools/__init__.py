"""Commands for training and for the installation."""
