"""A study's report: tables, plots, design files and the verdict, from a plain list of `ReportRow`."""
