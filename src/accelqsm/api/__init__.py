"""Public functions: from paths and arrays to records of results."""
