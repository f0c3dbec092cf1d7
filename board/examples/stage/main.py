"""A linear stage with a stepper and an end switch. `move_to` is absolute: sent again after a lost answer, it does no
harm.

On a Pico W: STEP on GP2, DIR on GP3, ENABLE on GP4, end switch from GP5 to ground. On a computer: python main.py 8080
"""

import asyncio
import sys

try:
    from machine import Pin
except ImportError:
    import microfastapi.simulated as machine

    machine.install()
    from machine import Pin

from microfastapi import MicroFastApi, Quantity, Wifi, effect

STEPS_PER_MILLIMETRE = 80

Position = Quantity("mm", ge=0, le=150)


class Stage:
    """A stage of 150 mm."""

    def __init__(self):
        self.step = Pin(2, Pin.OUT, value=0)
        self.direction = Pin(3, Pin.OUT, value=0)
        self.enable = Pin(4, Pin.OUT, value=1)
        self.switch = Pin(5, Pin.IN, Pin.PULL_UP)
        self._steps = 0
        self._homed = False

    @property
    def position(self) -> Position:
        """From the end switch."""
        return self._steps / STEPS_PER_MILLIMETRE

    @property
    def homed(self) -> bool:
        """Whether the position means something."""
        return self._homed

    @effect("absolute")
    async def home(self) -> Position:
        """To the end switch, slowly; at most the length of the stage."""
        for _ in range(150 * 4):
            if not self.switch.value():
                break
            await self._go(-STEPS_PER_MILLIMETRE // 4)
        self._steps = 0
        self._homed = True
        self.stop()
        return 0.0

    @effect("absolute")
    async def move_to(self, position: Position) -> Position:
        """Move, and answer where it stands."""
        if not self._homed:
            raise RuntimeError("the stage does not know where it is; call home first")
        target = int(position * STEPS_PER_MILLIMETRE)
        while self._steps != target:
            way = target - self._steps
            await self._go(max(-20, min(20, way)))
        return self.position

    async def _go(self, steps: int):
        self.enable.value(0)
        self.direction.value(1 if steps > 0 else 0)
        for _ in range(abs(steps)):
            self.step.value(1)
            self.step.value(0)
        self._steps += steps
        await asyncio.sleep(0.005)

    def stop(self):
        """Current off; the stage stays where it is."""
        self.enable.value(1)


wifi = Wifi(ssid="laboratory", password="secret", hostname="stage")
stage = Stage()
app = MicroFastApi(port=int(sys.argv[1]) if len(sys.argv) > 1 else 80, title="Stage", wifi=wifi, safe=stage.stop)
app.instrument(stage, name="stage")

if __name__ == "__main__":
    wifi.connect()
    print(app)
    app.run()
