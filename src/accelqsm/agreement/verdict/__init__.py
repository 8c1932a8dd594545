"""What a comparison concludes: per nucleus, per protocol, and in one line."""
