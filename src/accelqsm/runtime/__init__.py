"""Run-time environment: device, memory and progress."""
