"""Titleholder: does this bank account belong to the person or business that claims it?"""

__version__ = "0.2.0"
