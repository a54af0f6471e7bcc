"""Titleholder: does this bank account belong to the person or business that says so?"""

__version__ = "0.2.0"
