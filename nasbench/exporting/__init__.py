"""A network as a file for a runtime, which alone then runs it: the answers are compared, int8 is scored on images."""
