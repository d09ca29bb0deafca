"""Published networks and figures, and how this project's compare with them."""
