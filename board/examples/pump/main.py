"""A peristaltic pump behind a stepper driver: `dispense` must not happen twice, so it is `once`, and remembered on
the flash.

On a Pico W: STEP on GP2, DIR on GP3, ENABLE (low = on) on GP4. On a computer the pins are simulated:
    micropython main.py 8080        or        python main.py 8080
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

STEPS_PER_MILLILITRE = 400

Volume = Quantity("mL", ge=0, le=50)
Speed = Quantity("mL/s", gt=0, le=2)


class Pump:
    """A peristaltic pump with one tube."""

    def __init__(self):
        self.step = Pin(2, Pin.OUT, value=0)
        self.direction = Pin(3, Pin.OUT, value=0)
        self.enable = Pin(4, Pin.OUT, value=1)
        self._pumped = 0.0
        self._speed = 0.5

    @property
    def pumped(self) -> Quantity("mL"):
        """Since the board was started."""
        return self._pumped

    @property
    def speed(self) -> Speed:
        """Of the next dispensing."""
        return self._speed

    @speed.setter
    def speed(self, value: Speed):
        self._speed = value

    async def dispense(self, volume: Volume) -> Quantity("mL"):
        """Push so much through the tube; answer what was pumped since the start."""
        self.enable.value(0)
        try:
            batch = STEPS_PER_MILLILITRE // 20  # 0.05 mL between two looks at the network
            for _ in range(int(volume * 20)):
                for _ in range(batch):
                    self.step.value(1)
                    self.step.value(0)
                self._pumped += 0.05
                await asyncio.sleep(0.05 / self._speed)
        finally:
            self.stop()
        return self._pumped

    @effect("absolute")
    def prime(self, on: bool = True) -> bool:
        """Energise the motor, so that the tube does not run back."""
        self.enable.value(0 if on else 1)
        return on

    def stop(self):
        """Current off."""
        self.enable.value(1)


wifi = Wifi(ssid="laboratory", password="secret", hostname="pump")
pump = Pump()
app = MicroFastApi(port=int(sys.argv[1]) if len(sys.argv) > 1 else 80, title="Pump", wifi=wifi, safe=pump.stop)
app.instrument(pump, name="pump")

if __name__ == "__main__":
    wifi.connect()
    print(app)
    app.run()
