"""Architectures as drawings: what stands on each stage (`stages`), where several differ (`aligned`), and the SVG."""
