"""A scan of a simulated stage under a camera, done by Bluesky's RunEngine.

The two drivers are served here, in the background, so that the example runs by itself; in a laboratory they are served
by `labretto up lab.toml`, and only the part below the line is what a beamline's script has.

    pip install 'labretto[hub,bluesky]' matplotlib
    python scan.py
"""

import bluesky.plans as bp
from bluesky import RunEngine
from bluesky.callbacks.best_effort import BestEffortCallback

import labretto
from labretto.bluesky import device
from labretto.instrument.simulated.camera import Camera
from labretto.instrument.simulated.stage import SampleStage

labretto.start(SampleStage, name="stage", settings={"velocity": 400.0, "acceleration": 5000.0})
labretto.start(Camera, name="camera", settings={"width": 32, "height": 24, "time_scale": 0.0})

# ----------------------------------------------------------------------------------------------------------------------

RE = RunEngine()
table = BestEffortCallback()
table.disable_plots()
RE.subscribe(table)

with device("stage", read=["x", "sample"]) as stage, device("camera") as camera:
    image = camera.measure("photograph", exposure=0.01)
    across = stage.axis("move", "x", y=20)

    RE(bp.count([stage], num=2))
    RE(bp.scan([image, stage.sample], across, 10, 40, 4), purpose="which samples lie in the second row")
