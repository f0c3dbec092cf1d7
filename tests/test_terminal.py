"""What people see: bars on a terminal, plain lines in a pipe, and the little prompt of `labretto connect`."""

import json
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labretto import cli
from labretto.errors import InvalidError, NotFoundError, UnreachableError
from labretto.hub import start_lab
from labretto.terminal import look_at, pairs, value_of

DRIVER = '''
from collections.abc import Iterator
from typing import Annotated, NamedTuple
from annotated_types import Interval, Unit
from labretto import effect

class Row(NamedTuple):
    wavelength: Annotated[float, Unit("nm")]
    counts: int

class Lamp:
    """A lamp."""

    def __init__(self) -> None:
        self._brightness = 0.5

    @property
    def brightness(self) -> Annotated[float, Unit("cd"), Interval(ge=0, le=10)]:
        """How bright it is."""
        return self._brightness

    @brightness.setter
    def brightness(self, value: float) -> None:
        self._brightness = value

    @property
    def colour(self) -> str:
        return "white"

    @effect("absolute")
    def dim(self, factor: Annotated[float, Unit("cd/cd")], note: str = "") -> Annotated[float, Unit("cd")]:
        """Make it darker."""
        return self._brightness / factor

    @property
    def power(self) -> float:
        raise OSError("no [volt] meter")

    def spectrum(self) -> Iterator[Row]:
        """Of what is left [see [/manual]]."""
        yield Row(400.0, 1)
        yield Row(410.0, 2)

    def burn_out(self) -> None:
        raise RuntimeError("the filament is broken")

    def stop(self) -> None:
        pass
'''
LAB = """
name = "lamps"
[instruments.lamp]
driver = "drivers:Lamp"
"""
DIMMED = """
name: dimmed
steps:
  - sweep: {factor: [1, 2, 4]}
    steps:
      - do: lamp.dim
        with: {factor: "${factor}"}
"""
PATIENCE = 30.0

Connect = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def lab(command_line_of_the_module: Any) -> Iterator[Any]:
    """The command line beside a hub with a lamp."""
    folder = command_line_of_the_module.folder
    (folder / "drivers.py").write_text(DRIVER)
    (folder / "lab.toml").write_text(LAB)
    (folder / "dimmed.yaml").write_text(DIMMED)
    with command_line_of_the_module.hub("lab.toml", "--port", "0"):
        yield command_line_of_the_module


@pytest.fixture
def labretto(lab: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Connect:
    """`labretto ARGUMENTS` in this process: status, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labretto", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, errors = capsys.readouterr()
        assert "Traceback" not in output + errors
        assert isinstance(ended.value.code, int)
        return ended.value.code, output, errors

    monkeypatch.setenv("LABRETTO_HOME", str(lab.home))
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(lab.folder)
    return run


# Words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), ("true", True), ("null", None), ('["A1", 2]', ["A1", 2]), ("A1", "A1"), ('"1"', "1"), ("", "")],
)
def test_a_value_is_json_or_the_text_itself(text: str, value: object) -> None:
    assert value_of(text) == value


def test_an_argument_may_hold_an_equals_sign() -> None:
    assert pairs(["x=1", "formula=a=b", "empty="]) == {"x": 1, "formula": "a=b", "empty": ""}


@pytest.mark.parametrize("text", ["x", "=1", ""])
def test_an_argument_without_a_name_or_a_value_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="is not NAME=VALUE"):
        pairs([text])


# connect, one command ---------------------------------------------------------------------------------------------


def test_list_shows_what_there_is_with_units_and_effects(labretto: Connect) -> None:
    status, output, errors = labretto("connect", "lamp", "list")

    assert (status, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert ["attribute", "(set)", "brightness", "cd", "How", "bright", "it", "is."] in lines
    assert ["action", "(absolute)", "dim", "factor", "[cd/cd],", "note", "cd", "Make", "it", "darker."] in lines


def test_list_as_json_is_the_description(labretto: Connect) -> None:
    _, output, _ = labretto("connect", "lamps/lamp", "list", "--json")

    described = json.loads(output)
    assert described["name"] == "lamp"
    assert set(described["attributes"]) == {"brightness", "colour", "power"}


def test_one_attribute_that_cannot_be_read_keeps_none_of_the_others_from_being_seen(labretto: Connect) -> None:
    status, output, errors = labretto("connect", "lamp", "get")

    assert (status, errors) == (0, "")
    assert "white" in output
    assert "the driver raised OSError: no [volt] meter" in output
    assert json.loads(labretto("connect", "lamp", "get", "--json")[1])["power"]["status"] == "error"


def test_a_table_is_shown_as_its_columns_with_their_units(labretto: Connect) -> None:
    output = labretto("connect", "lamp", "call", "spectrum")[1]

    assert output.splitlines() == ["wavelength: [400. 410.] nm", "counts: [1 2]"]


def test_get_set_and_call(labretto: Connect) -> None:
    assert labretto("connect", "lamp", "set", "brightness", "2")[0] == 0
    assert "2" in labretto("connect", "lamp", "get", "brightness")[1]
    assert json.loads(labretto("connect", "lamp", "get", "--json")[1])["colour"]["value"] == "white"
    assert json.loads(labretto("connect", "lamp", "call", "dim", "factor=4", "note=low", "--json")[1]) == 0.5
    assert "0.5 cd" in labretto("connect", "lamp", "call", "dim", "factor=4")[1]
    assert json.loads(labretto("connect", "lamp", "stop", "--json")[1])["stopped"] is True


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("get heat", 3, "There is no 'heat'. Known here: brightness, colour, power."),
        ("get brightnes", 3, "There is no 'brightnes'. Did you mean 'brightness'?"),
        ("call shine", 3, "There is no 'shine'. Known here: dim, spectrum, burn_out."),
        ("set colour red", 3, "lamp.colour cannot be set"),
        ("set brightness 11", 3, "10"),
        ("call dim", 3, "factor"),
        ("call dim factor", 3, "'factor' is not NAME=VALUE"),
        ("call dim facto=1", 3, "unexpected keyword argument 'facto'"),
        ("call burn_out", 1, "the filament is broken"),
        ("set brightness", 3, "is not understood"),
        ("jump", 3, "'jump' is not understood"),
    ],
)
def test_what_an_instrument_does_not_do_is_told_in_words(
    labretto: Connect, command: str, status: int, words: str
) -> None:
    found, output, errors = labretto("connect", "lamp", *command.split())

    assert (found, output) == (status, "")
    assert words in errors


# connect, the prompt ----------------------------------------------------------------------------------------------


def test_through_a_pipe_it_obeys_line_by_line_and_goes_on_after_a_fault(lab: Any) -> None:
    lines = ["set brightness 4", "", "get brightness", "get heat", 'call dim factor=2 note="very low"', "call 'dim"]

    done = lab.run("connect", "lamp", stdin="\n".join(lines))

    assert done.returncode == 0
    assert "2.0 cd" in done.stdout
    assert "lamp>" not in done.stdout
    assert "There is no 'heat'" in done.stderr
    assert "No closing quotation" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_tells_what_can_be_said(lab: Any) -> None:
    done = lab.run("connect", "lamp", stdin="help\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("get ATTRIBUTE") == 2


def test_quit_ends_it(lab: Any) -> None:
    done = lab.run("connect", "lamp", stdin="quit\nset brightness 9\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert "4.0" not in done.stdout


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, lab: Any, *arguments: str) -> None:
        self._leader, follower = pty.openpty()
        self.seen = ""
        os.set_blocking(self._leader, False)
        streams = {"stdin": follower, "stdout": follower, "stderr": follower}
        self.process = lab.start(*arguments, start_new_session=True, **streams)
        os.close(follower)

    def type(self, text: str) -> None:
        """What somebody types."""
        os.write(self._leader, text.encode())

    def until(self, words: str) -> str:
        """All that was shown so far, once `words` are in what is shown from now on."""
        begun = len(self.seen)
        late = time.monotonic() + PATIENCE
        while words not in self.seen[begun:]:
            ready, _, _ = select.select([self._leader], [], [], max(0.0, late - time.monotonic()))
            assert ready, f"{words!r} is not shown: {self.seen}"
            try:
                self.seen += os.read(self._leader, 65536).decode(errors="replace")
            except OSError:  # the other side has closed the terminal
                pytest.fail(f"it ended before {words!r} was shown: {self.seen}")
        return self.seen

    def ends(self) -> int:
        """Its exit status."""
        status = int(self.process.wait(PATIENCE))
        os.close(self._leader)
        return status


def test_on_a_terminal_it_prompts(lab: Any) -> None:
    terminal = Terminal(lab, "connect", "lamp")
    assert "call ACTION" in terminal.until("lamp> ")
    terminal.type("get colour\n")
    assert "white" in terminal.until("lamp> ")
    terminal.type("jump\n")
    assert "is not understood" in terminal.until("lamp> ")
    terminal.type("quit\n")
    assert terminal.ends() == 0


def test_ctrl_d_ends_the_prompt(lab: Any) -> None:
    terminal = Terminal(lab, "connect", "lamp")
    terminal.until("lamp> ")
    terminal.type("\x04")
    assert terminal.ends() == 0


def test_ctrl_c_at_the_prompt_ends_it_with_130(lab: Any) -> None:
    terminal = Terminal(lab, "connect", "lamp")
    terminal.until("lamp> ")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.ends() == 130


def test_of_an_instrument_that_does_not_come_up_the_hub_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABRETTO_HOME", str(tmp_path / "home"))
    (tmp_path / "lab.toml").write_text('name = "half"\n[instruments.absent]\ndriver = "nowhere:Nothing"\n')

    with start_lab(tmp_path / "lab.toml", port=0):
        for name in ("absent", "half/absent"):
            with pytest.raises(UnreachableError, match=f"{name} is stopped: There is no module 'nowhere'"):
                look_at(name, ["list"], as_json=False)
        with pytest.raises(NotFoundError, match="No instrument 'abcent' lives"):
            look_at("abcent", ["list"], as_json=False)


# run --------------------------------------------------------------------------------------------------------------


def test_on_a_terminal_a_run_is_a_bar_that_fills(lab: Any) -> None:
    terminal = Terminal(lab, "run", "dimmed.yaml")

    shown = terminal.until("Record: ")

    assert "dimmed: succeeded" in shown
    assert "━" in shown
    assert "3/3" in shown
    assert terminal.ends() == 0


def test_in_a_pipe_a_run_is_a_line_for_each_state(lab: Any) -> None:
    done = lab.run("run", "dimmed.yaml")

    assert (done.returncode, done.stderr) == (0, "")
    *states, run, record = done.stdout.splitlines()
    assert states[-1] == "dimmed: succeeded"
    assert set(states) <= {"dimmed: queued", "dimmed: running", "dimmed: succeeded"}
    assert len(set(states)) == len(states)
    assert run.endswith(": succeeded")
    assert Path(record.removeprefix("Record: ")).is_dir()


def test_a_record_is_exported_into_a_file_or_to_standard_output(
    command_line: Any, tmp_path: Path, free_port: int
) -> None:
    experiment = tmp_path / "look.yaml"
    experiment.write_text("name: look\nsteps:\n  - save: {x: 1}\n")
    lab = tmp_path / "lab.toml"
    lab.write_text(f'name = "bare"\nport = {free_port}\n')
    assert command_line.run("run", experiment, "--lab", lab).returncode == 0

    told = command_line.run("export", "look")
    command_line.run("export", "look", "--format", "csv", "--out", tmp_path / "look.csv")

    assert '["start"' in told.stdout
    assert (tmp_path / "look.csv").read_text() == "x\n1\n"
    assert command_line.run("export", "nothing").returncode == 3
