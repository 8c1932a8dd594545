"""Content of reports, collected from result folders."""
