"""Broken messages through the whole door: always an answer, never a fault, and it goes on.

YILIAN_MUTATIONS makes it longer (`make soak`: 20,000).
"""

import os

from app.feeds.inbox import State
from tests.feeds.mutations import mutations

GOOD = b"MSH|^~\\&|A|B|C|D|2025||ADT^A04|Z|P|2.5.1\rPID|1||9\r"
COUNT = int(os.environ.get("YILIAN_MUTATIONS", "400"))


def test_broken_messages_are_answered_without_a_fault(hospital, caplog):
    for raw in mutations(COUNT):
        answers = hospital.send(raw)

        assert all(one.startswith(b"MSH") for one in answers.now)
    entries = hospital.entries()

    assert not [record for record in caplog.records if record.exc_info]
    assert not [one for one in entries for issue in one.issues if issue.details == "fault"]
    assert State.RECEIVED not in [one.state for one in entries if one.answers[1]]
    assert hospital.codes(GOOD) == ["AA"]
