"""How many subjects a study needs, from what a pilot has shown."""
