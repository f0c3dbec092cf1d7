"""A temperature logger: the Pico's own sensor (or an LM35 on GP26), a page, a live stream, and the last hour as CSV.

On a computer the sensor is simulated: python main.py 8080
"""

import asyncio
import sys

try:
    from machine import ADC
except ImportError:
    import microfastapi.simulated as machine

    machine.install()
    from machine import ADC

    ADC.levels[4] = 14500

from microfastapi import MicroFastApi, Quantity, Response, Rows, Wifi, effect

Celsius = Quantity("degC")


class Thermometer:
    """The sensor in the chip of a Pico."""

    def __init__(self):
        self.input = ADC(4)
        self.history = []

    @property
    def temperature(self) -> Celsius:
        """Of the chip, a few degrees above the room."""
        volt = self.input.read_u16() * 3.3 / 65535
        return round(27 - (volt - 0.706) / 0.001721, 2)

    @effect("read")
    async def mean(self, points: int = 10) -> Celsius:
        """Of so many readings, 20 ms apart."""
        total = 0.0
        for _ in range(points):
            total += self.temperature
            await asyncio.sleep(0.02)
        return total / points

    @effect("read")
    def record(self, points: int = 20) -> Rows(number=Quantity("1", int), temperature=Celsius):
        """One reading after the other, live to everyone who watches."""
        for number in range(points):
            yield {"number": number, "temperature": self.temperature}


wifi = Wifi(ssid="laboratory", password="secret", hostname="thermometer")
thermometer = Thermometer()
app = MicroFastApi(port=int(sys.argv[1]) if len(sys.argv) > 1 else 80, title="Thermometer", wifi=wifi)
app.instrument(thermometer, name="thermometer")


@app.get("/history.csv")
def history(last: int = 60):
    """The last minutes, one line for each."""
    return Response(
        "minute,temperature\n" + "".join(["%d,%s\n" % row for row in thermometer.history[-last:]]),
        content_type="text/csv",
    )


async def remember():
    """One reading a minute, an hour of them."""
    minute = 0
    while True:
        thermometer.history.append((minute, thermometer.temperature))
        if len(thermometer.history) > 60:
            thermometer.history.pop(0)
        minute += 1
        await asyncio.sleep(60)


app.background.append(remember)

if __name__ == "__main__":
    wifi.connect()
    print(app)
    app.run()
