"""HTML page of a report."""
