"""`Wifi`: joins a network and stays in it; opens a network of its own where none is known yet.

On a computer, where there is no module `network`, it answers the loopback address, so that the same main.py runs there.
"""

import time

try:
    import network
except ImportError:
    network = None


class Wifi:
    """The board's radio.

    Args:
        hostname: the board is then `http://<hostname>.local` (mDNS); it has to be known before connecting.
        country: two letters; some access points are not seen without.
    """

    def __init__(self, ssid: str = "", password: str = "", hostname: "str | None" = None, country: "str | None" = None):
        self.ssid = ssid
        self.password = password
        self.hostname = hostname
        self.country = country
        self.ip = None if network else "127.0.0.1"
        self.mac = None
        self.station = None
        self.losses = 0

    def connect(self, timeout: float = 20) -> "Wifi":
        """Joins the network; OSError with the reason if that does not succeed in time."""
        if not network:
            return self
        if self.hostname:
            network.hostname(self.hostname)
        if self.country:
            network.country(self.country)
        self.station = network.WLAN(network.STA_IF)
        self.station.active(True)
        self._power_saving_off(self.station)
        self.mac = _mac(self.station)
        self.station.connect(self.ssid, self.password)
        end = time.time() + timeout
        while not self.station.isconnected():
            if time.time() > end:
                raise OSError(
                    "no connection to %s within %d s; status %s" % (self.ssid, timeout, self.station.status())
                )
            time.sleep(0.1)
        self.ip = self.station.ifconfig()[0]
        self._set_clock()
        return self

    def access_point(self, ssid: str = "board", password: str = "") -> "Wifi":
        """Opens a network of its own, for setting the board up."""
        if network:
            self.station = network.WLAN(network.AP_IF)
            facts = {"essid": ssid, "password": password} if password else {"essid": ssid, "security": 0}
            self.station.config(**facts)
            self.station.active(True)
            self.mac = _mac(self.station)
            self.ip = self.station.ifconfig()[0]
            self.ssid = ""
        return self

    def keep(self) -> None:
        """Called by the server now and then: joins again after a loss, without waiting for it."""
        if not self.station or not self.ssid:
            return
        if self.station.isconnected():
            self.ip = self.station.ifconfig()[0]
            return
        self.losses += 1
        self.station.disconnect()
        self.station.connect(self.ssid, self.password)

    def _power_saving_off(self, station) -> None:
        """The radio's naps cost up to a second for each request."""
        try:
            station.config(pm=getattr(network.WLAN, "PM_NONE", 0xA11140))  # the number: before 1.23 on a Pico W
        except (ValueError, OSError, TypeError):
            pass  # a radio without power saving

    def _set_clock(self) -> None:
        """From the network, once; without it readings carry the time since the board was built."""
        try:
            import ntptime

            ntptime.settime()
        except Exception:
            pass  # no way to the internet: the laboratory works without

    def __str__(self) -> str:
        return "Wifi %s: ip %s, mac %s" % (self.ssid or "(own network)", self.ip, self.mac)


def setup(app, wifi: Wifi, file: str = "wifi.json") -> None:
    """`PUT /wifi {"ssid", "password"}` writes the network to be joined at the next start; `load` reads it."""
    import json

    from .answer import HTTPException
    from .parameters import Parameter

    def put(request):
        fields = request.fields()
        ssid = fields.get("ssid")
        if not ssid or type(ssid) is not str:  # the board would wait for a network without a name, for ever
            raise HTTPException(422, "ssid: the name of the network is missing")
        with open(file, "w") as place:
            json.dump({"ssid": ssid, "password": str(fields.get("password", ""))}, place)
        return {"ssid": ssid, "next": "restart the board"}

    request = Parameter(where="request")
    request.name = "request"
    app.add("PUT", "/wifi", put, request)


def load(file: str = "wifi.json", **facts) -> Wifi:
    """The Wifi that `setup` wrote; OSError where nothing has been written."""
    import json

    with open(file) as place:
        known = json.load(place)
    return Wifi(known["ssid"], known["password"], **facts)


def _mac(station) -> str:
    return ":".join(["%02x" % byte for byte in station.config("mac")])
