"""A guard before tau2's `calculate`, which evaluates what a model wrote: `9**9**9` would hold the process for hours."""

from __future__ import annotations

import ast

_LONGEST = 1_000
_DEEPEST = 40
_LARGEST_EXPONENT = 64


def is_bounded(expression: object) -> bool:
    """Say whether tau2's `calculate` ends at once on this value; anything that is no string it refuses by itself."""
    if not isinstance(expression, str):
        return True
    if len(expression) > _LONGEST or expression.count("(") > _DEEPEST:
        return False
    if "**" not in expression.replace(" ", ""):
        return True
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True  # tau2 reports the syntax error itself
    powers = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)]
    return all(_is_small(power) for power in powers)


def _is_small(power: ast.BinOp) -> bool:
    """Whether a power has a small literal exponent and no other power in its base."""
    exponent = power.right.operand if isinstance(power.right, ast.UnaryOp) else power.right
    nested = any(isinstance(node, ast.Pow) for node in ast.walk(power.left))
    if nested or not isinstance(exponent, ast.Constant) or not isinstance(exponent.value, int | float):
        return False
    return abs(exponent.value) <= _LARGEST_EXPONENT
