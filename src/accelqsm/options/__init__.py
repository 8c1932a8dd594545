"""A setting is a field, a choice is a row: each is stated once, and everything else reads it."""
