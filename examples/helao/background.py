"""The tutorial's notebook as a script: start the servers in the background, and go on working.

Each cell of `tutorial.ipynb` is a paragraph here. Servers end with `stop()`, or with the notebook.
Run it: `python background.py`. Other ports: `python background.py 5000 5001 5002 5003`.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from hello import Hello
from motor import Motor

import labretto

hello_port, motor_port, potentiostat_port, orchestrator_port = map(int, sys.argv[1:] or (5000, 5001, 5002, 5003))

# A driver is a class. `start` returns when its server answers; `helao=True` adds the old routes, where a GET acts.
hello = labretto.start(Hello, port=hello_port, helao=True)
print(requests.get(f"{hello.url}/hello?s=jack").json())

# The motor moves while the notebook goes on: a second of simulated motion here.
motor = labretto.start(
    Motor,
    port=motor_port,
    settings={"duration": 1.0},
    helao=True,
    compat={"getPos": "position"},
    effects={"move": "absolute"},
)
print(requests.get(f"{motor.url}/move?loc=[5,5,5]").json())
print(requests.get(f"{motor.url}/getPos").json())

# A driver may also be named by its text, "module:Class".
potentiostat = labretto.start(
    "potentiostat:Potentiostat", port=potentiostat_port, helao=True, concurrent={"voltage", "current"}
)
sweep = requests.get(f"{potentiostat.url}/measureVoltage?Vmin=0&Vmax=0.5&t=5").json()["data"]
print(f"{len(sweep['current'])} points, peak {max(sweep['current']) * 1e6:.1f} uA")

# The orchestrator uses servers that run already: its lab.toml says where they are.
LAB = f"""
name = "notebook"
port = {orchestrator_port}
[compat]
helao = true
[instruments.motor]
url = "{motor.url}"
compat = {{ getPos = "position" }}
[instruments.potentiostat]
url = "{potentiostat.url}"
"""
with TemporaryDirectory() as folder:
    file = Path(folder) / "lab.toml"
    file.write_text(LAB)
    orchestrator = labretto.start_lab(file)

experiment = {
    "soe": ["motor/move_1", "potentiostat/measureVoltage_1", "motor/move_2", "motor/getPos_1"],
    "params": {
        "move_1": {"loc": "[5, 5, 5]"},
        "measureVoltage_1": {"Vmin": "0", "Vmax": "0.5", "t": "5"},
        "move_2": {"loc": "[1, 2, 3]"},
        "getPos_1": {},
    },
}
added = requests.post(f"{orchestrator.url}/addExperiment", params={"experiment": json.dumps(experiment)})
print(f"run {added.headers['Labretto-Run']} is in the queue")

# The notebook is free here. This waits for the end, without asking again and again.
requests.get(f"{orchestrator.url}/api/runs/{added.headers['Labretto-Run']}/wait")
newest = list(requests.get(f"{orchestrator.url}/getData").json().values())[-1]
print({name: entry if "data" not in entry else "..." for name, entry in newest.items()})

for server in (orchestrator, potentiostat, motor, hello):
    server.stop()
