"""A `machine` for the PC: pins that remember, so that a board's main.py runs and is tested without a board.

    import microfastapi.simulated as machine; machine.install()

After that `import machine` anywhere gives this module. `Pin.all` are the pins by number; a test sets
`Pin.all[4].value(1)`
as the world would, and reads `Pin.all[15].history` (64 levels) as an oscilloscope would. Not copied to a board.
"""

import sys

PWRON_RESET, HARD_RESET, WDT_RESET, SOFT_RESET = 1, 2, 3, 4
cause = PWRON_RESET  # what reset_cause() answers; a test may set it
resets = 0
dogs = []


def install() -> None:
    """Puts this module in the place of `machine`."""
    sys.modules["machine"] = sys.modules[__name__]


def reset() -> None:
    global resets
    resets += 1


def reset_cause() -> int:
    return cause


def unique_id() -> bytes:
    return b"\x28\xcd\xc1\x00\x00\x01"


def freq(hertz: int = 125000000) -> int:
    return hertz


class Pin:
    """A pin that remembers what was written to it."""

    IN, OUT, OPEN_DRAIN = 0, 1, 2
    PULL_UP, PULL_DOWN = 1, 2
    IRQ_RISING, IRQ_FALLING = 1, 2
    all = {}

    def __init__(self, number, mode: int = -1, pull: int = -1, value=None):
        known = Pin.all.get(number)
        self.number = number
        self.mode = mode
        self.level = known.level if known else (1 if pull == Pin.PULL_UP else 0)
        self.history = known.history if known else []
        self.handler = known.handler if known else None
        self.trigger = known.trigger if known else 0
        Pin.all[number] = self
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return self.level
        before, self.level = self.level, int(bool(level))
        self.history.append(self.level)
        if len(self.history) > 64:  # a stepper writes thousands
            self.history.pop(0)
        edge = Pin.IRQ_RISING if self.level > before else Pin.IRQ_FALLING if self.level < before else 0
        if self.handler and edge & self.trigger:
            self.handler(self)
        return None

    __call__ = value

    def on(self) -> None:
        self.value(1)

    def off(self) -> None:
        self.value(0)

    high, low = on, off

    def toggle(self) -> None:
        self.value(1 - self.level)

    def irq(self, handler=None, trigger: int = 3) -> None:
        self.handler, self.trigger = handler, trigger


class PWM:
    """A pulse-width output that remembers frequency and duty."""

    def __init__(self, pin, freq: int = 1000, duty_u16: int = 0):
        self.pin, self._freq, self._duty = pin, freq, duty_u16

    def freq(self, hertz: "int | None" = None):
        if hertz is None:
            return self._freq
        self._freq = hertz
        return None

    def duty_u16(self, duty: "int | None" = None):
        if duty is None:
            return self._duty
        self._duty = duty
        return None

    def deinit(self) -> None:
        self._duty = 0


class ADC:
    """An analogue input; `ADC.levels[channel]` is what it reads, 0 to 65535, or a function that answers it."""

    levels = {}

    def __init__(self, channel):
        self.channel = getattr(channel, "number", channel)

    def read_u16(self) -> int:
        level = ADC.levels.get(self.channel, 0)
        return level() if callable(level) else level


class I2C:
    """A bus; `I2C.memory[(address, register)]` are the bytes of its chips."""

    memory = {}

    def __init__(self, *_, **__):
        pass

    def scan(self) -> list:
        return sorted({address for address, _ in I2C.memory})

    def readfrom_mem(self, address: int, register: int, count: int) -> bytes:
        data = I2C.memory.get((address, register))
        if data is None:
            raise OSError(5)
        return bytes(data[:count])

    def writeto_mem(self, address: int, register: int, data: bytes) -> None:
        I2C.memory[address, register] = bytes(data)


class WDT:
    """A watchdog that counts how often it was fed."""

    def __init__(self, id: int = 0, timeout: int = 5000):
        self.timeout = timeout
        self.fed = 0
        dogs.append(self)

    def feed(self) -> None:
        self.fed += 1
