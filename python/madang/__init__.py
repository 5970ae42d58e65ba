"""Madang: a real-time platform for Python, from one core to many machines."""

__version__ = "0.1.0"
