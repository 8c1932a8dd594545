"""Commands for studies of many participants."""
