"""What is left after a restart: `once` actions, leases, and honest answers about what nobody remembers."""

import os

from microfastapi.clock import born, isoformat, new_id
from microfastapi.ledger import Ledger


def entry(identity, action="dispense", effect="once", state="running"):
    words = {"id": identity, "instrument": "pump", "action": action, "parameters": {"volume": 1}, "state": state}
    words.update({"effect": effect, "started": "then", "ended": None, "result": None, "error": None})
    return words


def place():
    return "/tmp/microfastapi-%s.ledger" % os.urandom(4).hex()


def begun(ledger, identity, **facts):
    words = entry(identity, **facts)
    ledger.begin(words, words["effect"] == "once")
    return words


def ended(ledger, words, result=3.5):
    words.update({"state": "succeeded", "ended": "now", "result": result})
    ledger.end(words, words["effect"] == "once")


def cleared(file):
    for name in (file, file + ".new"):
        try:
            os.remove(name)
        except OSError:
            pass


def test_an_ended_action_is_remembered_through_a_restart():
    file = place()
    identity = new_id()
    ledger = Ledger(file)
    ended(ledger, begun(ledger, identity))
    again = Ledger(file)
    assert again.find(identity)["state"] == "succeeded"
    assert again.find(identity)["result"] == 3.5
    assert again.birth == ledger.birth
    cleared(file)


def test_an_action_that_had_begun_is_interrupted_and_stays_so():
    file = place()
    identity = new_id()
    begun(Ledger(file), identity)
    for _ in range(2):
        found = Ledger(file).find(identity)
        assert found["state"] == "interrupted"
        assert "restarted" in found["error"]["detail"]
        assert found["parameters"] == {"volume": 1}
    cleared(file)


def test_a_torn_last_line_does_not_count():
    file = place()
    first, second = new_id(), new_id()
    ledger = Ledger(file)
    ended(ledger, begun(ledger, first))
    with open(file, "a") as torn:
        torn.write('{"id": "%s", "action": "dispense", "state": "running"' % second)
    again = Ledger(file)
    assert again.find(second) is None
    ended(again, begun(again, second))
    assert Ledger(file).find(second)["state"] == "succeeded"
    assert Ledger(file).find(first)["state"] == "succeeded"
    cleared(file)


def test_a_rewriting_that_was_cut_off_loses_nothing():
    file = place()
    identity = new_id()
    ledger = Ledger(file)
    ended(ledger, begun(ledger, identity))
    os.rename(file, file + ".new")  # as left by a flash that cannot rename onto a file
    assert Ledger(file).find(identity)["state"] == "succeeded"
    with open(file + ".new", "w") as half:
        half.write('{"birth": 1')  # cut off while it was written; the old file is still there
    assert Ledger(file).find(identity)["state"] == "succeeded"
    cleared(file)


def test_the_file_stays_small_and_the_youngest_are_kept():
    file = place()
    ledger = Ledger(file, most=4)
    identities = [new_id() for _ in range(60)]
    for identity in identities:
        ended(ledger, begun(ledger, identity))
    assert os.stat(file)[6] < 40 * 250
    again = Ledger(file, most=4)
    assert [words["id"] for words in again.entries] == identities[-4:]
    cleared(file)


def test_a_forgotten_id_is_not_called_not_arrived():
    file = place()
    ledger = Ledger(file, most=2)
    first = new_id()
    for identity in (first, new_id(), new_id()):
        ended(ledger, begun(ledger, identity))
    assert ledger.missing(first, True) == "cannot tell"
    ledger.raise_lease(1)
    assert Ledger(file, most=2).missing(first, True) == "cannot tell"
    cleared(file)


def test_an_id_older_than_the_ledger_cannot_be_told_and_a_younger_one_has_not_arrived():
    file = place()
    before = "00000000-0000-7000-8000-000000000000"
    ledger = Ledger(file)
    assert ledger.missing(before, True) == "cannot tell"
    after = from_the_future()
    assert ledger.missing(after, True) == "not arrived"
    assert Ledger(file).missing(after, True) == "not arrived"
    assert ledger.missing("0190163d-8694-4000-8000-000000000000", True) == "cannot tell"  # a UUIDv4 has no birth
    cleared(file)


def test_what_is_not_once_is_remembered_until_the_restart_only():
    file = place()
    identity = new_id()
    ledger = Ledger(file)
    ended(ledger, begun(ledger, identity, effect="absolute"))
    assert ledger.find(identity)["state"] == "succeeded"
    assert Ledger(file).find(identity) is None
    cleared(file)


def test_the_highest_lease_survives():
    file = place()
    Ledger(file).raise_lease(17)
    assert Ledger(file).lease == 17
    cleared(file)


def test_a_long_result_does_not_fill_the_flash():
    file = place()
    identity = new_id()
    ledger = Ledger(file)
    ended(ledger, begun(ledger, identity), result=[1.5] * 2000)
    assert len(ledger.find(identity)["result"]) == 2000
    assert os.stat(file)[6] < 2000
    again = Ledger(file).find(identity)
    assert (again["state"], again["result"]) == ("succeeded", None)
    cleared(file)


def test_an_id_carries_its_birth():
    assert born("0190163d-8694-739b-aea5-966c26f8ad91") == 0x0190163D8694
    assert isoformat(0x0190163D8694) == "2024-06-14T10:14:09.300Z", isoformat(0x0190163D8694)


def from_the_future():
    identity = new_id()
    head = "%012x" % (born(identity) + 5000)
    return head[:8] + "-" + head[8:] + identity[13:]
