"""Reports, methods text and terminal output of results."""
