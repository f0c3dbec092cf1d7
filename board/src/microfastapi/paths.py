"""Paths with more than one parameter, or with one in the middle: `/a/{b}/c`, `/{rest:path}`."""

from .request import unquote


def fit(words: list, rest: bytes) -> "dict | None":
    """The parameters in what follows the fixed part of a path, if it fits: a name takes one piece, `*name` all the
    rest.
    """
    parts = {}
    pieces = rest.split(b"/", len(words) - 1)
    if len(pieces) != len(words):
        return None
    for word, piece in zip(words, pieces):
        if type(word) is bytes:
            if word != piece:
                return None
        elif word[0] == "*":
            parts[word[1:]] = unquote(piece)
        elif not piece or b"/" in piece:
            return None
        else:
            parts[word] = unquote(piece) if b"%" in piece else piece.decode()
    return parts
