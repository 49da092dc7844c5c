"""Files of a folder to somewhere else, each with what became of it and how that is known."""
