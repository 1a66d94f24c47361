"""Files of minute bars, read exactly or not at all."""
