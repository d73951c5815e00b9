"""What can be wrong before the first function runs."""


class StartupError(Exception):
    """The app cannot be started; the message says what is wrong, where, and what to do."""
