"""From the inbox to the store, with HL7 v2 messages: durable, once, in order, nothing partial."""

import dataclasses
import json
from threading import Event, Thread

import pytest
from msgspec.structs import replace

from app.errors import Unavailable, YilianError
from app.feeds import inbox
from app.feeds.hl7v2 import er7
from app.feeds.hl7v2.exchange import Frame, Peer
from app.feeds.inbox import State
from app.feeds.lanes import Lane
from app.store.database import Address, connect, transaction
from app.store.types import Change, Method
from tests.support import wait_for

STRUCTURES = {"A40": "ADT_A39", "A31": "ADT_A05", "A03": "ADT_A03", "A12": "ADT_A09"}


PEER = Peer("192.0.2.1", 1, 1)


def adt(event, number, family="Zhang", *, cid, when="20250310080000", more="", acks="|", visit=""):
    structure = STRUCTURES.get(event, "ADT_A01")
    return (
        f"MSH|^~\\&|HIS|F1|YILIAN|HUB|{when}||ADT^{event}^{structure}|{cid}|P|2.5.1|||{acks}|"
        f"CHN|UNICODE UTF-8\rEVN|{event}|{when}\r"
        f"PID|1||{number}^^^F1^MR||{family}^San||19800102|F|||||{more}\r{visit}"
    )


def oru(number, code, value, *, cid, filler="L1", when="20250310080000", status="F"):
    return (
        f"MSH|^~\\&|LIS|F1|YILIAN|HUB|{when}||ORU^R01^ORU_R01|{cid}|P|2.5.1||||||UNICODE UTF-8\r"
        f"PID|1||{number}^^^F1^MR||Zhang^San\r"
        f"OBR|1|P{filler}^HIS|{filler}^LIS|24331-1^Lipids^LN|||20250310070000|||||||||||||||{when}||LAB|F\r"
        f"OBX|1|NM|{code}^x^L||{value}|mmol/L|||||{status}|||20250310070000\r"
    )


def family_of(patient):
    return patient["name"][0]["family"]


def test_what_is_acknowledged_can_be_read(hospital):
    assert hospital.codes(adt("A04", "1", cid="C1")) == ["AA"]

    assert family_of(hospital.one("Patient", identifier="1")) == "Zhang"
    (entry,) = hospital.entries()
    assert (entry.state, entry.kind, entry.control_id) == (State.APPLIED, "ADT^A04", "C1")
    assert any(one.startswith("Patient/") for one in entry.touched)


def test_enhanced_mode_tells_first_that_it_is_stored(hospital):
    assert hospital.codes(adt("A04", "1", cid="C1", acks="AL|AL")) == ["CA", "AA"]
    assert hospital.codes(adt("A04", "2", cid="C2", acks="AL|NE")) == ["CA"]
    assert hospital.codes(adt("A04", "3", cid="C3", acks="NE|NE")) == []

    assert len(hospital.all("Patient")) == 3


def test_a_message_sent_again_gets_its_first_answer_and_changes_nothing(hospital):
    first = hospital.send(adt("A04", "1", cid="C1")).now
    hospital.send(adt("A08", "1", "Wang", cid="C2", when="20250310090000"))
    hospital.later(hours=1)
    before = hospital.one("Patient", identifier="1")

    again = hospital.send(adt("A04", "1", cid="C1")).now
    resent = hospital.send(
        adt("A04", "1", cid="C1").replace("|20250310080000||ADT", "|20250310081500||ADT")
    ).now

    assert again == resent == first
    assert hospital.one("Patient", identifier="1") == before
    assert [one.state for one in hospital.entries()].count(State.DUPLICATE) == 2


def test_a_duplicate_in_enhanced_mode_gets_both_answers_again(hospital):
    raw = adt("A04", "1", cid="C1", acks="AL|AL")

    assert hospital.codes(raw) == hospital.codes(raw) == ["CA", "AA"]
    assert hospital.one("Patient", identifier="1")["meta"]["versionId"] == "1"


def test_the_same_control_id_with_another_content_is_a_new_message(hospital):
    hospital.send(adt("A04", "1", cid="C1"))
    hospital.send(adt("A08", "1", "Wang", cid="C1"))

    assert family_of(hospital.one("Patient", identifier="1")) == "Wang"


def test_after_the_window_the_same_message_is_new(hospital):
    hospital.send(adt("A04", "1", cid="C1"))
    hospital.later(days=8)
    hospital.send(adt("A04", "1", cid="C1"))

    assert [one.state for one in hospital.entries()] == [State.APPLIED, State.APPLIED]


@pytest.mark.parametrize(
    ("raw", "codes"),
    [
        (adt("A04", "", cid="C1"), ["AE"]),
        (adt("A04", "1", cid=""), ["AE"]),
        (adt("A40", "1", cid="C1"), ["AE"]),
        (adt("A40", "1", cid="C1", visit="MRG|1^^^F1^MR\r"), ["AE"]),
        (adt("A04", "1", cid="C1").replace("2.5.1", "XYZ"), ["AR"]),
        (adt("A04", "1", cid="C1").replace("|P|2.5.1", "|X|2.5.1"), ["AR"]),
        (adt("A04", "1", cid="C1", acks="AL|AL").replace("|P|2.5.1", "|X|2.5.1"), ["CR"]),
        (adt("A04", "1", cid="C1").replace("ADT^A04^ADT_A01", ""), ["AR"]),
        (adt("A04", "", cid="C1", acks="AL|AL"), ["CA", "AE"]),
        ("MSH|^~\\&|HIS|F1|Y|H|2025||ZZZ^Z99|C1|P|2.5.1\rZZ1|1\r", ["AR"]),
        ("MSH|^~\\&|HIS|F1|Y|H|2025||ZZZ^Z99|C1|P|2.5.1|||AL|AL\rZZ1|1\r", ["CR"]),
        ("MSH|^~\\&|HIS|F1|Y|H|2025||QBP^Q22|C1|P|2.5.1\rQPD|x\r", ["AR"]),
        ("nothing of HL7", ["AR"]),
        ("", ["AR"]),
    ],
)
def test_what_cannot_be_applied_is_told_and_kept(hospital, raw, codes):
    assert hospital.codes(raw) == codes

    (entry,) = hospital.entries()
    assert entry.state is State.FAILED
    assert any(issue.severity == "error" for issue in entry.issues)
    assert hospital.all("Patient") == []


def test_an_acknowledgement_is_not_acknowledged(hospital):
    assert hospital.codes("MSH|^~\\&|HIS|F1|Y|H|2025||ACK|C1|P|2.5.1\rMSA|AA|9\r") == []
    assert hospital.entries()[0].state is State.APPLIED


def test_each_message_of_a_batch_has_its_answer_and_one_bad_one_hurts_no_other(hospital):
    raw = adt("A04", "1", cid="C1") + adt("A04", "", cid="C2") + adt("A04", "3", cid="C3")

    answers = [er7.read(one) for one in hospital.send(raw).now]

    assert [(one.get("MSA", 1), one.get("MSA", 2)) for one in answers] == [
        ("AA", "C1"),
        ("AE", "C2"),
        ("AA", "C3"),
    ]
    assert len(hospital.all("Patient")) == 2


def test_an_older_message_does_not_overwrite_a_newer_one(hospital):
    hospital.send(adt("A08", "1", "Newest", cid="C2", when="20250310120000"))
    hospital.send(adt("A08", "1", "Late", cid="C1", when="20250310100000"))

    assert family_of(hospital.one("Patient", identifier="1")) == "Newest"


def test_what_is_said_again_later_is_not_overwritten_by_what_was_said_in_between(hospital):
    hospital.send(adt("A08", "1", cid="C1", when="20250310080000"))
    hospital.send(adt("A08", "1", cid="C3", when="20250310120000"))
    hospital.send(adt("A08", "1", "Late", cid="C2", when="20250310100000"))

    patient = hospital.one("Patient", identifier="1")
    assert family_of(patient) == "Zhang"


def test_elements_keep_the_time_they_were_told_at_one_by_one(hospital):
    hospital.send(adt("A08", "1", cid="C1", when="20250310080000", more="5551234"))
    hospital.send(adt("A08", "1", cid="C3", when="20250310120000"))
    hospital.send(adt("A08", "1", "Late", cid="C2", when="20250310100000", more="5559999"))
    hospital.send(adt("A08", "1", "Late", cid="C0", when="20250310070000", more="5550000"))

    patient = hospital.one("Patient", identifier="1")
    assert (family_of(patient), patient["telecom"][0]["value"]) == ("Zhang", "5559999")


def test_what_an_earlier_release_was_told_is_still_known(hospital):
    hospital.send(adt("A08", "1", "Newest", cid="C2", when="20250310120000"))
    db = connect(Address(hospital.url), write=True)
    with transaction(db):  # where the times of all resources stood
        db.run(
            "INSERT INTO told (tenant,type,id,at,elements)"
            " SELECT tenant,type,id,told/2,'' FROM res WHERE told IS NOT NULL"
        )
        db.run("UPDATE res SET told=NULL")
    db.close()

    hospital.send(adt("A08", "1", "Late", cid="C1", when="20250310100000"))

    assert family_of(hospital.one("Patient", identifier="1")) == "Newest"


def test_null_removes_and_absent_keeps(hospital):
    hospital.send(adt("A04", "1", cid="C1", more="5551234"))
    hospital.send(adt("A08", "1", cid="C2", when="20250310090000"))
    assert hospital.one("Patient", identifier="1")["telecom"][0]["value"] == "5551234"

    hospital.send(adt("A08", "1", cid="C3", when="20250310100000", more='""'))

    assert "telecom" not in hospital.one("Patient", identifier="1")


def test_null_removes_an_extension_and_a_part_of_the_visit_and_nothing_beside_them(hospital):
    visit = "PV1|1|I|W^1||||{}|D2^Ref||||||{}|||||V1^^^F1^VN\r"
    people, nobody = visit.format("D1^Att", "1"), visit.format('""', '""')
    hospital.send(adt("A01", "1", cid="C1", more="||||CHR^x^L|||||H^Han^L", visit=people))

    hospital.send(adt("A08", "1", cid="C2", when="20250310100000", more='||||""', visit=nobody))

    urls = [one["url"] for one in hospital.one("Patient", identifier="1")["extension"]]
    encounter = hospital.one("Encounter", identifier="V1")
    kinds = [one["type"][0]["coding"][0]["code"] for one in encounter["participant"]]
    assert [url.rpartition("/")[2] for url in urls] == ["patient-ethnic-group"]
    assert kinds == ["REF"]
    assert "hospitalization" not in encounter


def test_what_a_discharge_leaves_empty_stays_as_it_was_told(hospital):
    visit = "PV1|1|I|W^1||||{}|||||||{}|||||V1^^^F1^VN|||||||||||||||||{}\r"
    hospital.send(adt("A01", "1", cid="C1", more="111|222", visit=visit.format("D1^Att", "1", "")))

    left = visit.format("", "", "01")
    hospital.send(adt("A03", "1", cid="C2", when="20250311080000", more="|333", visit=left))

    encounter = hospital.one("Encounter", identifier="V1")
    assert set(encounter["hospitalization"]) == {"admitSource", "dischargeDisposition"}
    assert len(encounter["participant"]) == 1
    telecom = hospital.one("Patient", identifier="1")["telecom"]
    assert {(one["use"], one["value"]) for one in telecom} == {("home", "111"), ("work", "333")}


def wait_together(hospital, messages):
    """Return MSA-1 to each of the messages, which all came while the writer was busy."""
    dispatcher, go_on = hospital.feeds.dispatcher, Event()
    dispatcher._writer.submit_work(lambda session: go_on.wait(120), lambda result: None)
    promises = [hospital.hand_in(raw) for raw in messages]
    wait_for(lambda: len(dispatcher._tasks) == len(messages))
    go_on.set()
    answers = [one.result(120).now[0] for one in promises]
    return [answer.split(b"\rMSA|")[1][:2].decode() for answer in answers]


def test_messages_that_wait_together_end_as_if_they_came_one_by_one(hospital):
    messages = [
        adt("A04", "1", cid="C1"),
        adt("A08", "1", "Newest", cid="C2", when="20250310120000"),
        adt("A04", "1", cid="C1"),
        adt("A08", "1", "Late", cid="C3", when="20250310100000"),
        adt("A04", "", cid="C4"),
        oru("1", "GLU", "5.60", cid="C5"),
        oru("1", "GLU", "5.61", cid="C6", when="20250310090000", status="C"),
        oru("2", "K", "4.1", cid="C7", filler="L2"),
        adt("A40", "1", "Newest", cid="C8", when="20250310130000", visit="MRG|2^^^F1^MR\r"),
        oru("2", "NA", "140", cid="C9", filler="L3"),
    ]

    assert wait_together(hospital, messages) == ["AA"] * 4 + ["AE"] + ["AA"] * 5

    survivor = next(one for one in hospital.all("Patient") if one.get("active") is not False)
    assert family_of(survivor) == "Newest"
    results = hospital.all("Observation", patient=survivor["id"])
    found = {
        one["code"]["coding"][0]["code"]: (one["status"], one["meta"]["versionId"])
        for one in results
    }
    assert found == {"GLU": ("corrected", "2"), "K": ("final", "2"), "NA": ("final", "1")}
    states = [one.state for one in hospital.entries()]
    assert (states.count(State.DUPLICATE), states.count(State.FAILED)) == (1, 1)
    assert [one.id for one in hospital.entries()] == sorted(one.id for one in hospital.entries())


class Choosy:
    """An applier whose database takes anything but one message."""

    def __init__(self, applier):
        self._applier = applier
        self.preparer = applier.preparer

    def apply(self, group, stated):
        if any(b"Untakable" in one.body for one in stated.statements):
            group.db.run("INSERT INTO told (tenant) VALUES (NULL)")  # breaks a rule of the table
        return self._applier.apply(group, stated)


def test_one_message_the_database_refuses_hurts_none_that_waits_with_it(hospital):
    dispatcher = hospital.feeds.dispatcher
    dispatcher._applier = Choosy(dispatcher._applier)
    families = ["One", "Two", "Untakable", "Four", "Five"]

    codes = wait_together(
        hospital, [adt("A04", str(n), name, cid=name) for n, name in enumerate(families)]
    )

    assert codes == ["AA", "AA", "AR", "AA", "AA"]
    assert {family_of(one) for one in hospital.all("Patient")} == {*families} - {"Untakable"}


class Away:
    """A writer whose database is away; counts how often it was asked."""

    def __init__(self):
        self.asked, self.go_on = 0, Event()

    def run(self, work):
        self.go_on.wait(120)
        self.asked += 1
        raise Unavailable("the database is away")


def test_while_the_database_is_away_nothing_is_tried_message_by_message(hospital):
    away, dispatcher = Away(), hospital.feeds.dispatcher
    dispatcher._writer = Lane(away)
    raw = "".join(adt("A04", str(n), cid=f"C{n}") for n in range(20))
    try:
        promise = hospital.hand_in(raw)
        wait_for(lambda: len(dispatcher._tasks) == 20)
        away.go_on.set()
        answers = promise.result(120).now
    finally:
        dispatcher._writer.close()

    assert [one.split(b"\rMSA|")[1][:2] for one in answers] == [b"AR"] * 20
    assert away.asked <= 4  # the work, and whether anything else can be done; and so for upkeep


def test_the_same_results_again_make_no_new_version(hospital):
    hospital.send(oru("1", "GLU", "5.60", cid="C1"))
    hospital.send(oru("1", "GLU", "5.60", cid="C2", when="20250310080000"))

    result = hospital.one("Observation", code="GLU")
    assert result["meta"]["versionId"] == "1"
    assert '"value":5.60' in hospital.store.read("Observation", result["id"]).body.decode()


def test_a_correction_stands_however_late_the_result_comes(hospital):
    hospital.send(oru("1", "GLU", "5.7", cid="C2", when="20250310090000", status="C"))
    hospital.send(oru("1", "GLU", "5.6", cid="C1", when="20250310080000"))

    assert hospital.one("Observation", code="GLU")["status"] == "corrected"


def test_a_merge_leaves_one_active_record_with_all_data_and_both_numbers(hospital):
    hospital.send(oru("1", "GLU", "5", cid="C1"))
    hospital.send(adt("A04", "2", "Li", cid="C2"))
    hospital.send(adt("A40", "2", "Li", cid="C3", visit="MRG|1^^^F1^MR\r"))

    old, new = sorted(hospital.all("Patient"), key=lambda one: one.get("active", True))
    assert old["active"] is False
    assert old["link"] == [{"other": {"reference": f"Patient/{new['id']}"}, "type": "replaced-by"}]
    assert new["link"][0]["type"] == "replaces"
    assert {(one["value"], one.get("use")) for one in new["identifier"]} == {
        ("2", None),
        ("1", "old"),
    }
    assert len(hospital.all("Observation", subject=f"Patient/{new['id']}")) == 1

    hospital.send(oru("1", "CHOL", "5", cid="C4", filler="L2"))
    hospital.send(adt("A08", "1", "Renamed", cid="C5", when="20250310110000"))

    assert len(hospital.all("Observation", subject=f"Patient/{new['id']}")) == 2
    survivor = hospital.one("Patient", identifier="2")
    assert family_of(survivor) == "Renamed"
    assert {one["value"] for one in survivor["identifier"]} == {"1", "2"}


def test_a_circular_merge_is_refused_and_changes_nothing(hospital):
    hospital.send(adt("A04", "1", cid="C1"))
    hospital.send(adt("A40", "2", "Li", cid="C2", visit="MRG|1^^^F1^MR\r"))
    before = hospital.all("Patient")

    assert hospital.codes(adt("A40", "1", cid="C3", visit="MRG|2^^^F1^MR\r")) == ["AE"]

    assert hospital.all("Patient") == before
    assert hospital.entries()[-1].issues[0].details == "circular-merge"


def test_merges_in_a_chain_lead_to_the_last_survivor(hospital):
    hospital.send(oru("1", "GLU", "5", cid="C1"))
    hospital.send(adt("A40", "2", cid="C2", visit="MRG|1^^^F1^MR\r"))
    hospital.send(adt("A40", "3", cid="C3", visit="MRG|2^^^F1^MR\r"))
    hospital.send(oru("1", "CHOL", "5", cid="C4", filler="L2"))

    (survivor,) = [one for one in hospital.all("Patient") if one.get("active", True)]
    assert {one["value"] for one in survivor["identifier"]} == {"1", "2", "3"}
    assert len(hospital.all("Observation", subject=f"Patient/{survivor['id']}")) == 2


def test_a_link_is_taken_away_between_the_two_records_that_are_unlinked(hospital):
    def about(event, one, other, **rest):
        return adt(event, one, visit=f"PID|2||{other}^^^F1^MR||Li^Si\r", **rest)

    hospital.send(about("A24", "1", "2", cid="C1"))
    hospital.send(about("A24", "1", "3", cid="C2"))
    hospital.send(about("A37", "1", "2", cid="C3", when="20250310090000"))

    ids = {n: hospital.one("Patient", identifier=n)["id"] for n in "123"}
    links = {n: hospital.one("Patient", identifier=n).get("link") for n in "123"}
    assert links["1"] == [{"other": {"reference": f"Patient/{ids['3']}"}, "type": "seealso"}]
    assert links["2"] is None
    assert links["3"] == [{"other": {"reference": f"Patient/{ids['1']}"}, "type": "seealso"}]


def test_a_number_that_changed_leads_to_the_same_record_before_and_after(hospital):
    hospital.send(adt("A04", "1", cid="C1"))
    made = hospital.one("Patient", identifier="1")["id"]
    hospital.send(adt("A47", "2", cid="C2", when="20250310090000", visit="MRG|1^^^F1^MR\r"))
    hospital.send(adt("A08", "2", "New", cid="C3", when="20250310100000"))
    hospital.send(adt("A08", "1", "Old", cid="C4", when="20250310110000"))

    (patient,) = hospital.all("Patient")
    assert patient["id"] == made
    assert family_of(patient) == "Old"
    numbers = {one["value"]: one.get("use") for one in patient["identifier"]}
    assert numbers == {"2": None, "1": "old"}


def test_a_record_made_over_rest_is_the_one_that_is_changed(hospital):
    hospital.send(adt("A04", "1", cid="C1"))
    made = hospital.one("Patient", identifier="1")
    system = made["identifier"][0]["system"]
    body = (
        b'{"resourceType":"Patient","identifier":[{"system":"%b","value":"77"}]}' % system.encode()
    )
    (outcome,) = hospital.store.commit([Change(Method.CREATE, "Patient", body=body)])

    hospital.send(adt("A08", "77", "Wang", cid="C2"))

    assert hospital.one("Patient", identifier="77")["id"] == outcome.id


def test_entries_stored_but_not_applied_are_applied_at_the_next_start(database_url, reopen):
    with reopen(database_url) as hospital:
        hospital.send(adt("A04", "1", cid="C1", acks="AL|AL"))
        entry = hospital.entries()[0]
    db = connect(Address(database_url), write=True)
    with transaction(db):
        raw = adt("A04", "2", cid="C2", acks="AL|AL").encode()
        inbox.add(
            db,
            0,
            replace(
                entry,
                id=next(inbox.next_ids(db, 1)),
                state=State.RECEIVED,
                raw=raw,
                key=b"2",
                touched=(),
            ),
        )
    db.close()

    with reopen(database_url) as hospital:
        assert hospital.one("Patient", identifier="2")
        assert hospital.entries()[-1].state is State.APPLIED


def replay(hospital, *ids):
    db = connect(Address(hospital.url), write=True)
    with transaction(db):
        assert inbox.move(db, 0, ids, State.REPLAY) == len(ids)
    db.close()
    wait_for(lambda: State.REPLAY not in [one.state for one in hospital.entries()])


def test_a_failed_message_that_still_fails_keeps_its_answer(hospital):
    hospital.send(adt("A40", "2", cid="C1", visit="MRG|1^^^F1^MR\r"))
    hospital.send(adt("A40", "3", cid="C2", visit="MRG|1^^^F1^MR\r"))
    failed = hospital.entries()[-1]

    replay(hospital, failed.id)

    assert hospital.entries()[-1] == failed


def test_a_failed_message_is_applied_when_it_is_replayed_with_its_cause_gone(hospital):
    right = hospital.feeds.dispatcher._applier
    hospital.feeds.dispatcher._applier = Broken()
    raw = adt("A04", "1", cid="C1", acks="AL|AL")
    assert hospital.codes(raw) == ["CA", "AE"]

    hospital.feeds.dispatcher._applier = right
    replay(hospital, 1)

    assert hospital.one("Patient", identifier="1")
    assert hospital.codes(raw) == ["CA", "AA"]


def test_a_replay_that_changes_nothing_leaves_what_the_message_wrote_in_its_entry(hospital):
    hospital.send(adt("A04", "1", cid="C1"))
    (before,) = hospital.entries()
    assert any(one.startswith("Patient/") for one in before.touched)

    replay(hospital, before.id)

    assert hospital.entries()[0].touched == before.touched


class Broken:
    """An applier with a programming error."""

    def apply(self, group, stated):
        raise KeyError("programming error")


class FullDisk:
    """A writer to whom everything fails."""

    def submit_work(self, work, done, *, size=16, committed=None):
        done(Unavailable("the disk is full"))


@pytest.mark.parametrize(("acks", "codes"), [("|", ["AR"]), ("AL|AL", ["CR"]), ("NE|NE", [])])
def test_nothing_is_acknowledged_that_could_not_be_stored(hospital, acks, codes):
    hospital.feeds.dispatcher._writer = FullDisk()

    answers = hospital.send(adt("A04", "1", cid="C1", acks=acks)).now

    read = [er7.read(one) for one in answers]
    assert [one.get("MSA", 1) for one in read] == codes
    assert all(one.get("ERR", 3) == "207" for one in read)


class Meanwhile:
    """An applier that lets something happen between reading and writing, the first time."""

    def __init__(self, applier, act):
        self._applier, self._act = applier, act
        self.preparer = applier.preparer

    def apply(self, group, stated):
        return self._applier.apply(Meanwhile.Group(group, self._once), stated)

    def _once(self):
        act, self._act = self._act, lambda: None
        other = Thread(target=act)  # another worker
        other.start()
        other.join()

    class Group:
        def __init__(self, group, act):
            self._group, self._act = group, act

        def __getattr__(self, name):
            return getattr(self._group, name)

        def write(self, new, changes, told):
            self._act()
            return self._group.write(new, changes, told)


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_message_takes_nothing_back_that_is_written_at_the_same_time(hospital):
    hospital.send(adt("A04", "1", cid="C1"))
    patient = hospital.one("Patient", identifier="1")

    def marry():
        body = json.dumps({**patient, "maritalStatus": {"text": "married"}}).encode()
        hospital.store.commit([Change(Method.UPDATE, "Patient", patient["id"], body)])

    dispatcher = hospital.feeds.dispatcher
    dispatcher._applier = Meanwhile(dispatcher._applier, marry)
    assert hospital.codes(adt("A08", "1", "Wang", cid="C2", when="20250310090000")) == ["AA"]

    after = hospital.one("Patient", identifier="1")
    assert family_of(after) == "Wang"
    assert after["maritalStatus"] == {"text": "married"}
    assert after["meta"]["versionId"] == "3"


class Untakable:
    """An applier whose values the database does not take."""

    def apply(self, group, stated):
        group.db.one("SELECT ?::int2", (1 << 40,))


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_message_the_database_does_not_take_is_kept_as_failed(hospital):
    hospital.feeds.dispatcher._applier = Untakable()

    assert hospital.codes(adt("A04", "1", cid="C1", acks="AL|AL")) == ["CA", "AE"]
    assert hospital.codes(adt("A04", "2", cid="C2")) == ["AE"]

    assert [one.state for one in hospital.entries()] == [State.FAILED, State.FAILED]


class Interrupted:
    """A writer whose database goes away between storing a message and applying it.

    Both share a transaction, unless something in it cannot be written: then each has its own.
    """

    def __init__(self, writer):
        self._writer = writer
        self._says = iter((YilianError("not so"), None, Unavailable("the database is restarting")))

    def submit_work(self, work, done, *, size=16, committed=None):
        error = next(self._says, None)
        if error is not None:
            done(error)
        else:
            self._writer.submit_work(work, done, size=size, committed=committed)


def test_what_was_stored_but_could_not_be_applied_is_applied_when_it_can_be(hospital):
    dispatcher = hospital.feeds.dispatcher
    dispatcher._writer = Interrupted(dispatcher._writer)

    assert hospital.codes(adt("A04", "1", cid="C1", acks="AL|AL")) == ["CA"]

    wait_for(lambda: hospital.entries()[0].state is State.APPLIED)
    assert hospital.one("Patient", identifier="1")


def test_a_fault_in_applying_is_kept_and_the_next_message_is_served(hospital):
    right = hospital.feeds.dispatcher._applier
    hospital.feeds.dispatcher._applier = Broken()
    raw = adt("A04", "1", cid="C1")

    (answer,) = hospital.send(raw).now
    assert er7.read(answer).get("ERR", 3) == "207"
    assert b"KeyError" not in answer

    hospital.feeds.dispatcher._applier = right
    assert hospital.codes(raw) == ["AA"]
    assert [one.state for one in hospital.entries()] == [State.DISCARDED, State.APPLIED]


def test_who_cannot_be_told_stops_nobody(hospital):
    def gone(answers):
        raise RuntimeError("a fault")

    hospital.feeds.door.accept(Frame(adt("A04", "1", cid="C1").encode(), PEER), gone)

    assert hospital.codes(adt("A04", "2", cid="C2")) == ["AA"]
    assert [one.state for one in hospital.entries()] == [State.APPLIED] * 2


def test_a_fault_in_reading_is_kept_and_the_connection_goes_on(hospital):
    door = hospital.feeds.door
    right = door._reader
    door._reader = dataclasses.replace(right, preparer="no preparer")
    raw = adt("A04", "1", cid="C1")

    (answer,) = hospital.send(raw).now
    assert er7.read(answer).get("MSA", 1) == "AE"

    door._reader = right
    assert hospital.codes(raw) == ["AA"]


def test_bytes_are_dropped_when_they_are_old_enough(hospital):
    hospital.send(adt("A04", "1", cid="C1"))
    hospital.later(days=91)
    hospital.feeds.dispatcher._forget()
    hospital.send(adt("A08", "1", cid="C2"))

    db = connect(Address(hospital.url))
    assert [bool(inbox.get(db, 0, n).raw) for n in (1, 2)] == [False, True]
    db.close()
