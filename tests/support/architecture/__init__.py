"""Checkers that read source and report what breaks the rules of the house.

Each takes `Module` values and gives problems as text, so that it can be shown to fail: a check
that cannot fail proves nothing.
"""
