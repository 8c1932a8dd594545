"""Reader of total and local fields."""
