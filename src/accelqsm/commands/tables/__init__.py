"""Commands whose output is tables and reports."""
