"""A reminder assistant: say it, forget about it, and it rings at the right instant."""

__version__ = "0.1.0"
