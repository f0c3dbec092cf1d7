"""The look at one driver, in a process of its own: `python -m labretto.network.doctor.look`.

It imports, checks the arguments and describes; the driver is never made. The order comes on standard input, the answer
leaves by a descriptor of its own, because a driver may print.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from labretto.errors import LabError
from labretto.instrument.adopt import adopt, arguments, constructor
from labretto.instrument.describe import Description, Offer
from labretto.instrument.limits_file import read_limits
from labretto.network.load import load_driver, maker
from labretto.network.serve import Order, overlay


def look(order: Order) -> dict[str, Any]:
    """What was found: problems under "import", "settings" and "description", else the description itself."""
    found: dict[str, Any] = {}
    instrument = order.instrument
    driver = _tried("import", lambda: load_driver(instrument.driver or "", order.search_path), found)
    if driver is None:
        return found
    settings = _tried("settings", lambda: arguments(driver, instrument.settings, instrument.name), found)
    if settings is not None:
        _tried("settings", lambda: maker(constructor(driver), settings, instrument.name), found)
    offered: tuple[Any, Offer] | None = _tried(
        "description", lambda: adopt(driver, object, name=instrument.name, overlay=overlay(instrument)), found
    )
    limits = read_limits(instrument.limits)
    if offered is not None:
        description = offered[1].description
        found |= {"described": description.as_dict(), "later": offered[1].complete is not None}
        found["undeclared"] = undeclared(driver, description, instrument.effects)
        # What such a driver offers is known only once it is made, and so is whether the limits fit it.
        limits = limits if found["later"] else limits.fitted(description)
    return found | {"limits": limits.blocked}


def undeclared(driver: type, description: Description, effects: Any) -> list[str]:
    """The actions that are "once" only because nobody said anything."""
    return [
        action.name
        for action in description.actions.values()
        if action.effect == "once"
        and action.name not in effects
        and not hasattr(inspect.getattr_static(driver, action.name, None), "__labretto_effect__")
    ]


def _tried(word: str, work: Callable[[], Any], found: dict[str, Any]) -> Any:
    """What `work` answers; None, with the problem in `found`, if it raises."""
    try:
        return work()
    except LabError as error:
        found[word] = error.problem() | {"place": place(str(error.problem().get("traceback") or ""))}
    except Exception as error:  # noqa: BLE001 - a foreign class may raise anything while it is looked at
        said = "".join(traceback.format_exc())
        found[word] = {"detail": f"{type(error).__name__}: {error}", "way_out": "", "place": place(said)}
    return None


def place(text: str) -> str:
    """File and line of a traceback's last place outside Python's own machinery; empty if there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith('File "')]
    outside = [line for line in lines if "importlib" not in line and "/labretto/network/" not in line]
    if not outside:
        return ""
    file, _, line = outside[-1].removeprefix('File "').partition('", line ')
    return f"{file}, line {line.partition(',')[0]}"


def main() -> None:
    """Answer on the descriptor that the first argument names."""
    found = look(Order.from_json(sys.stdin.read()))
    with os.fdopen(int(sys.argv[1]), "wb") as answer:
        answer.write(msgspec.json.encode(found, enc_hook=str))


if __name__ == "__main__":
    main()
    os._exit(0)  # threads that the driver's module started shall not keep us
