"""What a network is, as frozen values: its file, its parts, the meta-block, and the named blocks that spell it out."""
