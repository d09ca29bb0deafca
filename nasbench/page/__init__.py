"""The report as one HTML page: what it shows as plain values (`content`), and the template that shows it.

The page needs no network: its figures lie in it as JSON, beside its style, its code and the plotting library.
"""
