"""Digital heads."""
