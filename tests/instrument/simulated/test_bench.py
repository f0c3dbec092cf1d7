"""What instruments of a simulated lab share survives them."""

import gc
import json

import pytest

from labretto.instrument.simulated.bench import Bench


def test_a_second_instrument_reads_what_the_first_wrote(tmp_path):
    Bench(tmp_path).write("pump", {"remaining": 4.5})

    assert Bench(tmp_path).read("pump") == {"remaining": 4.5}
    assert [file.name for file in tmp_path.iterdir()] == ["pump.json"], "nothing is left aside"


def test_nothing_is_known_of_a_thing_never_written(tmp_path):
    assert Bench(tmp_path).read("pump") is None
    assert Bench(tmp_path).tip("stage") is None


def test_the_environment_names_the_bench(tmp_path, monkeypatch):
    monkeypatch.setenv("LABRETTO_BENCH", str(tmp_path / "shared"))

    assert Bench().folder == tmp_path / "shared"


def test_a_private_bench_goes_with_its_owner(monkeypatch):
    monkeypatch.delenv("LABRETTO_BENCH", raising=False)
    bench = Bench()
    folder = bench.folder
    bench.write("pump", {})

    del bench
    gc.collect()

    assert not folder.exists()


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_broken_file_is_named_with_the_way_out(tmp_path, content):
    (tmp_path / "pump.json").write_text(content)

    with pytest.raises(ValueError, match=r"pump\.json.*delete it"):
        Bench(tmp_path).read("pump")


def test_a_physical_action_is_witnessed_before_it_begins_and_after_it_ended(tmp_path):
    bench = Bench(tmp_path)

    with bench.physical("pump", "dispense", volume=2.0):
        assert [line["phase"] for line in bench.physical_log()] == ["begin"]

    begin, end = bench.physical_log()
    assert (begin["parameters"], end["outcome"]) == ({"volume": 2.0}, "done")
    assert begin["act"] == end["act"]


def test_the_witness_tells_how_a_failed_action_ended(tmp_path):
    bench = Bench(tmp_path)

    with pytest.raises(RuntimeError), bench.physical("pump", "dispense"):
        raise RuntimeError("dry")

    assert bench.physical_log()[-1]["outcome"] == "RuntimeError"


def test_lines_of_the_witness_are_json_of_one_line_each(tmp_path):
    bench = Bench(tmp_path)
    for name in ("one", "two\nlines"):
        with bench.physical(name, "act"):
            pass

    assert len([json.loads(line) for line in bench.log_file.read_text().splitlines()]) == 4
