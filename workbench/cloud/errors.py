"""The one error of this package: its text is one line for people."""


class CloudError(Exception):
    """The emulated stack cannot be set up or cannot go on; one line for people."""
