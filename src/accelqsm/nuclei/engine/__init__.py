"""Interface to ANTs, which runs in a process of its own."""
