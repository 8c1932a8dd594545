"""Where and how it runs: device, memory, progress."""
