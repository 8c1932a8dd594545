"""Commands that give tables and reports."""
