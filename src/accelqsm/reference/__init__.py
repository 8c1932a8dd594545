"""What has zero susceptibility: the field tells differences alone."""
