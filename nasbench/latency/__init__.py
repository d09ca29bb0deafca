"""Latency, memory and energy of a network on a device: measured through a runtime, or predicted from what was measured.

A device's profile (profile.py) holds its measurements and the predictor fitted to them; tables.py labels each figure as
measured or predicted. Importing this package costs nothing: import from its modules.
"""
