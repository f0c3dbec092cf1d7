"""`config.yml`: where the experiment's socket and its modules answer, and which driver each module has.

Read by the experiment (`start_experiment.py`) and by the front (`main.py`), so that a port stands in one place.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labretto.access import is_loopback
from labretto.errors import InvalidError, NotFoundError
from labretto.lab import Lab, LabInstrument

EXPERIMENT = "experiment"
"""Stands for the experiment itself where else a module's name stands."""

Port = Annotated[int, Field(ge=1, le=65535)]


class Part(BaseModel):
    """A part of the file; a key that is not known is a fault, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExperimentSocket(Part):
    """Where JSON is answered over ZMQ; on the loopback only, because it asks nobody who he is."""

    port: Port = 5555

    @property
    def address(self) -> str:
        """For ZMQ."""
        return f"tcp://127.0.0.1:{self.port}"


class Module(Part):
    """One module: a driver to run here, or the address of a host that somebody else runs."""

    driver: str | None = None
    """`module:Class`."""
    address: str = "127.0.0.1"
    port: Port | None = None
    """None, with a driver: any free one."""
    settings: dict[str, Any] = {}


class Config(Part):
    """All of it."""

    name: str
    experiment_socket: ExperimentSocket = ExperimentSocket()
    modules: Mapping[str, Module]

    def lab(self, file: Path) -> Lab:
        """The modules as a lab's instruments, so that Labretto can run them; drivers may stand beside `file`."""
        instruments = {name: _instrument(name, module) for name, module in self.modules.items()}
        return Lab(name=self.name, instruments=instruments, file=file)


def config_file() -> Path:
    """The file meant where none is named: the environment's EXPERIMENT_CONFIG, or the one beside this."""
    return Path(os.environ.get("EXPERIMENT_CONFIG", Path(__file__).with_name("config.yml"))).absolute()


def load_config(file: Path) -> Config:
    """What `file` says.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: something in it does not fit; says what.
    """
    try:
        config = Config.model_validate(yaml.safe_load(file.read_text("utf-8")))
        config.lab(file)
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}.") from None
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file} does not fit: {error}") from None
    return config


def _instrument(name: str, module: Module) -> LabInstrument:
    if name == EXPERIMENT:
        raise InvalidError(f"A module cannot be called {name!r}: the experiment itself is.")
    if module.driver is None:
        return LabInstrument(name=name, url=f"http://{module.address}:{module.port or 80}")
    if not is_loopback(module.address):
        raise InvalidError(
            f"{name} has a driver, so it runs on this machine and not at {module.address}.",
            way_out="Run `labretto serve` there, and drop the driver here.",
        )
    return LabInstrument(name=name, driver=module.driver, port=module.port, settings=module.settings)
