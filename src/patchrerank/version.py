"""Which patchrerank this is: recorded in everything it writes."""

__version__ = "0.1.0"
