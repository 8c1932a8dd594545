"""Settings records and registries of methods, for command line, TOML files and Python alike."""
