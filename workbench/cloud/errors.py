"""What keeps the stack from running here."""


class CloudError(Exception):
    """The emulated stack cannot be set up or cannot go on; one line for people."""
