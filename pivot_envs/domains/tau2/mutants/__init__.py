"""Labelled variants of demonstrated calls: batteries that say how often the equivalence rules are wrong."""
