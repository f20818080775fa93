"""What can go wrong while a lab is set up or runs."""


class LabError(Exception):
    """The lab cannot do what was asked; the message says what is missing or what failed."""
