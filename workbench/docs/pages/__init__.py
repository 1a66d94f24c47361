"""One module for each generated page: it returns the text, and `build` writes it."""
