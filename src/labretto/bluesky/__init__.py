"""Our instruments in Bluesky's RunEngine: `labretto.bluesky.device("stage")`.

Bluesky asks of a device only that it has certain methods (its protocols are structural), so nothing of Bluesky is
imported here and a device can be used wherever those methods are: Bluesky's plans, its queue server, a plain script.

    stage, camera = device("stage"), device("camera")
    RE(bp.scan([camera.measure("photograph", exposure=0.2)], stage.axis("move", "x", y=0), 0, 10, 11))

The other direction, a record as event-model documents, is `labretto.catalog.documents`.
"""

from labretto.bluesky.axes import Axis as Axis, Place as Place
from labretto.bluesky.device import Device as Device, device as device
from labretto.bluesky.measurements import Flyer as Flyer, Measurement as Measurement
from labretto.bluesky.parts import Signal as Signal, WritableSignal as WritableSignal
from labretto.bluesky.status import Status as Status

__all__ = ["Axis", "Device", "Flyer", "Measurement", "Place", "Signal", "Status", "WritableSignal", "device"]
