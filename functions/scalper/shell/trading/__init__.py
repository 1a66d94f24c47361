"""What each handler does with all symbols: one module for each, over the ports alone."""
