"""The tutorial's first server: it greets."""


class Hello:
    """Something to say hello to."""

    def hello(self, s: str) -> dict[str, str]:
        """Greet `s`."""
        return {"greeting": f"hello {s}"}
