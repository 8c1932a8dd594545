"""Tables as text, as people and programs write them."""
