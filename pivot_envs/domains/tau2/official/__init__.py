"""The official tau2 domains, from the PyPI package or a checkout, as worlds of the family."""
