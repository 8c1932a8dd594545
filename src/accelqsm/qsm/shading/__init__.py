"""What is broad in susceptibility, and has a field like that of sources outside the brain."""
