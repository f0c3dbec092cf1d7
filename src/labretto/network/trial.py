"""A driver tried out in a process of its own: imported, described, its settings checked; no driver is made.

    python -m labretto.network.trial NAME READY

The order comes as JSON on standard input, as for `labretto.network.serve`; one line of JSON goes to the file descriptor
READY: the description, or the problem that stands against it. So a broken file is known before a host that works ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

from labretto.errors import InvalidError, LabError
from labretto.instrument.limits_file import read_limits
from labretto.network.serve import Order, offered


def try_driver(order: Order) -> dict[str, Any]:
    """What an instrument would offer, in the JSON form; of some drivers the rest is known only once one is made.

    Raises:
        LabError: what is wrong with the driver, or with what the lab says about it.
    """
    _, offer = offered(order)
    limits = read_limits(order.instrument.limits)
    if offer.complete is None:
        limits = limits.fitted(offer.description)
    if limits.blocked:
        raise InvalidError(f"{limits.blocked}.", way_out="Correct the limits; nothing was changed.")
    return offer.description.as_dict()


def main() -> int:
    """The process."""
    report = int(sys.argv[2])
    os.set_inheritable(report, False)
    order = Order.from_json(sys.stdin.read())
    try:
        said = try_driver(order)
    except LabError as error:
        said = error.problem()
    with contextlib.suppress(OSError):  # who asked is gone
        os.write(report, json.dumps(said).encode() + b"\n")
    sys.stdout.flush()
    os._exit(0)  # whatever threads the driver's module has begun


if __name__ == "__main__":
    sys.exit(main())
