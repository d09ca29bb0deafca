"""Which fields of a search space matter: how much worse a score is predicted once a field's values are exchanged."""
