"""Statistics of agreement between protocols."""
