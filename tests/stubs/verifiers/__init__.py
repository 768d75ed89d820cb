"""Stands in for the library of this name, so that a test can see which `verifiers` an import finds."""

IS_THE_STUB = True
