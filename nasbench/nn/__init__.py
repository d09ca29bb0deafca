"""A network as a torch module: built, initialised, re-parameterised."""
