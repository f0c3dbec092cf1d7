"""A driver that does nothing, to measure everything around it."""


class Nop:
    """Does nothing."""

    def nop(self, x: float) -> float:
        """Answer `x`; undeclared, so it counts as an action that must happen once, whose start is flushed to disk."""
        return x
