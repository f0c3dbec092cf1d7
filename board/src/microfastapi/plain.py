"""Values that JSON has no word for, in words that it has."""

from binascii import b2a_base64


def plain(value):
    """The same value made of what JSON knows: NaN and infinity are null, arrays lists, bytes base64.

    Raises:
        TypeError: where there is no way to say it.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, (bytes, bytearray)):
        return b2a_base64(value).decode().strip()
    if hasattr(value, "__iter__") or hasattr(value, "append") or isinstance(value, (tuple, set)):
        return [plain(item) for item in value]
    raise TypeError("no JSON for " + type(value).__name__)
