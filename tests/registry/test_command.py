"""`yilian id parse`: one answer for each code, in order; and it starts without the hub."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

from app.registry.command import main

ROOT = Path(__file__).resolve().parents[2]


class Piped(io.BytesIO):
    """Standard input as the command is given it: bytes, in whatever pieces they come."""


def run(argv, given=b""):
    out = io.StringIO()
    status = main(argv, Piped(given), out)
    return status, [json.loads(line) for line in out.getvalue().split("\n") if line]


def test_codes_as_arguments_are_answered_one_a_line():
    status, answers = run(["9521234000037", "(01)09521234000037(21)P100"])

    assert status == 0
    assert [a["canonical"] for a in answers] == [
        "gs1:01:09521234000037",
        "gs1:01:09521234000037:21:P100",
    ]


def test_one_invalid_argument_makes_the_exit_status_1():
    status, answers = run(["9521234000038"])

    assert status == 1
    assert answers[0]["errors"][0]["code"] == "check-digit"


def test_a_hint_is_for_every_code():
    _, answers = run(["--as", "gln", "9521234000556"])

    assert answers[0]["scheme"] == "gln"


def test_bare_lines_are_answered_in_order_and_exit_0():
    status, answers = run([], "9521234000037\r\nnonsense\n国药准字H20260001\n".encode())

    assert status == 0
    assert [a["valid"] for a in answers] == [True, False, True]


def test_an_empty_line_and_a_missing_last_line_end_are_answered_too():
    _, answers = run([], b"9521234000037\n\n395212340000000014")

    assert [a["valid"] for a in answers] == [True, False, True]


def test_json_lines_echo_n_and_take_their_own_hint():
    lines = [
        {"n": 7, "code": "9521234000556", "as": "gln"},
        {"n": 8, "code": "(01)09521234000037"},
        {"code": "9521234000037"},
    ]
    _, answers = run(["--jsonl"], "\n".join(map(json.dumps, lines)).encode())

    assert [a.get("n") for a in answers] == [7, 8, None]
    assert [a["scheme"] for a in answers] == ["gln", "gs1-element", "gtin"]


def test_a_line_that_is_no_request_is_answered_in_its_place():
    given = b'{"code": 5}\nnot json\n[]\n\xff\xfe\n{"n":1,"code":"9521234000037"}\n'
    status, answers = run(["--jsonl"], given)

    assert status == 0
    assert [a["valid"] for a in answers] == [False, False, False, False, True]
    assert answers[0]["errors"][0]["code"] == "format"


def test_a_lone_surrogate_travels_there_and_back():
    _, answers = run(["--jsonl"], b'{"n":1,"code":"a\\ud800"}\n')

    assert answers[0]["input"] == "a\ud800"


def test_a_line_without_end_is_cut_and_refused():
    _, answers = run([], b"9" * (3 << 20) + b"\n9521234000037\n")

    assert answers[0]["errors"][0]["code"] == "too-long"
    assert answers[-1]["valid"]


def test_wrong_usage_says_so_with_exit_status_2():
    for argv in (["--nonsense"], ["--as"], ["--jsonl", "9521234000037"]):
        out = io.StringIO()
        assert main(argv, Piped(), out) == 2
        assert "usage:" in out.getvalue()


def test_help_names_the_options():
    out = io.StringIO()

    assert main(["--help"], Piped(), out) == 0
    assert "--jsonl" in out.getvalue()


def test_answers_come_while_the_input_is_still_open():
    # Given a child that is waiting for more input
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = (
        "import sys; from app.registry.command import main;"
        "sys.exit(main(['--jsonl'], sys.stdin.buffer, sys.stdout))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert child.stdin is not None
    assert child.stdout is not None

    # When one line is sent and the pipe stays open
    child.stdin.write(b'{"n":1,"code":"9521234000037"}\n')
    child.stdin.flush()

    # Then its answer is there
    assert json.loads(child.stdout.readline())["n"] == 1
    child.stdin.close()
    assert child.wait(timeout=120) == 0
    child.stdout.close()


def test_reading_one_code_loads_nothing_of_the_hub():
    code = (
        "import sys, io; from app.registry.command import main;"
        "main(['(01)09521234000037(21)P100'], io.BytesIO(), io.StringIO());"
        "print(sorted({m.partition('.')[0] for m in sys.modules}"
        " & {'flask', 'sqlalchemy', 'yaml', 'orjson', 'lxml', 'msgspec', 'argparse', 'asyncio'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
