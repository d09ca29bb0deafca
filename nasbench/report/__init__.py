"""What a study leaves for people: tables, plots, designs to take away, and the progress display.

Everything here starts from a plain list of `ReportRow`, so it knows neither the store nor the search.
"""
