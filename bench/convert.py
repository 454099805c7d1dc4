"""How many ten-OBX ORUs a second one core converts to Bundles, beside reading and writing them.

    python -m bench.convert [--messages 3000] [--seed 7]

Two feeds of a hospital's laboratory. *Plain*: MSH, PID, OBR and ten OBX with a code, a number, a
unit and a range, 0.9 kB. *Rich*: names and codes in Chinese too, a visit, an order with its doctor,
analysts, a local code beside each LOINC one. Every message has ids, times and values of its own;
patients, staff, wards and tests come again, a patient's results in bursts. No message is converted
twice. Processor time is counted, so that other work on the machine does not. Yardstick:
`json.loads` and `json.dumps` of the same Bundles.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from app.feeds.hl7v2 import er7
from app.feeds.hl7v2.convert import Options, convert
from app.memory import enlarge_pages

TESTS, PATIENTS, STAFF, PANELS, RESULTS = 200, 700, 60, 40, 10
_FAMILIES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚"
_UNITS = ("mmol/L", "umol/L", "g/L", "U/L", "mg/dL", "ng/mL", "10*9/L", "%", "fL", "mIU/L", "s")
_PANEL = (
    ("2345-7", "Glucose", "mmol/L", "3.9-6.1"),
    ("2160-0", "Creatinine", "umol/L", "44-97"),
    ("2951-2", "Sodium", "mmol/L", "135-145"),
    ("2823-3", "Potassium", "mmol/L", "3.5-5.1"),
    ("2075-0", "Chloride", "mmol/L", "98-107"),
    ("17861-6", "Calcium", "mmol/L", "2.1-2.6"),
    ("1975-2", "Bilirubin", "umol/L", "5-21"),
    ("1742-6", "ALT", "U/L", "7-56"),
    ("1920-8", "AST", "U/L", "10-40"),
    ("1751-7", "Albumin", "g/L", "35-50"),
)
_ENCODE = msgspec.json.Encoder(decimal_format="number").encode
_START = 1_714_600_000
_CHUNK = 20  # small, so that some of them run undisturbed


@dataclass(frozen=True)
class Figures:
    """Microseconds of processor time for one message, the least of all chunks, and of all."""

    feed: str
    er7: float
    convert: float
    encode: float
    yardstick: float
    all_convert: float
    resources: float
    size_bytes: float

    def lines(self) -> Iterator[str]:
        per_second = f"{1e6 / self.convert:,.0f}/s"
        shape = f"{self.resources:.0f} resources, {self.size_bytes / 1000:.0f} kB"
        yield f"conversion of a {self.feed} ten-OBX ORU ({shape}): {per_second} of one core"
        yield (
            f"  {self.convert:.0f} us (median of all {self.all_convert:.0f}), of which reading ER7"
            f" {self.er7:.0f}; writing JSON {self.encode:.0f} more"
        )
        yield (
            f"  yardstick: json.loads and json.dumps of the Bundle {self.yardstick:.0f} us;"
            f" conversion {self.convert / self.yardstick:.2f} times as much"
        )


def plain_messages(count: int, seed: int = 7) -> Iterator[bytes]:
    """Yield ORU^R01 messages of MSH, PID, OBR and ten OBX of one panel."""
    rnd = random.Random(seed)
    at = _START
    for number in range(count):
        at += rnd.randrange(1, 60)
        patient, time_ = rnd.randrange(PATIENTS), _dtm(at)
        lines = [
            f"MSH|^~\\&|LIS|H0001|YILIAN|HUB|{time_}||ORU^R01^ORU_R01|M{number}|P|2.5.1",
            f"PID|1||ZY{patient:08d}^^^H0001^MR||Zhang^Wei{patient}||19{40 + patient % 60}0101"
            f"|{'FM'[patient % 2]}",
            f"OBR|1|P{number}|F{number}|24323-8^CMP^LN|||{time_}|||||||||||||||{time_}||LAB|F",
        ]
        for place, (code, name, unit, range_) in enumerate(_PANEL, 1):
            value, flag = rnd.randrange(4000) / 10, rnd.choice("NHL")
            lines.append(
                f"OBX|{place}|NM|{code}^{name}^LN||{value:.1f}|{unit}|{range_}|{flag}|||F|||{time_}"
            )
        yield ("\r".join(lines) + "\r").encode()


def rich_messages(count: int, seed: int = 7) -> Iterator[bytes]:
    """Yield ORU^R01 messages with one order and ten numeric results each."""
    rnd = random.Random(seed)
    tests = [_test(rnd, number) for number in range(TESTS)]
    staff = [
        (f"D{n:04d}", rnd.choice(_FAMILIES), "".join(rnd.choices(_GIVEN, k=2)))
        for n in range(STAFF)
    ]
    patients = [_patient(rnd, rnd.choice(staff)) for _ in range(PATIENTS)]
    panels = [rnd.sample(tests, RESULTS) for _ in range(PANELS)]
    at, patient = _START, patients[0]
    for number in range(count):
        at += rnd.randrange(1, 60)
        if rnd.random() < 0.5:
            patient = rnd.choice(patients)
        panel = rnd.choice(panels) if rnd.random() < 0.7 else rnd.sample(tests, RESULTS)
        yield _message(rnd, number, at, patient, panel, rnd.choice(staff))


def _test(rnd: random.Random, number: int) -> dict[str, Any]:
    low = rnd.uniform(0.5, 90)
    loinc = f"{rnd.randrange(1000, 99999)}-{rnd.randrange(10)}"
    return {
        "code": f"{loinc}^Test {number}^LN^L{number}^项目{number}^99LIS",
        "unit": rnd.choice(_UNITS),
        "low": low,
        "high": low * rnd.uniform(1.2, 3),
    }


def _patient(rnd: random.Random, doctor: tuple[str, str, str]) -> dict[str, str]:
    born = f"{rnd.randrange(1930, 2020)}{rnd.randrange(1, 13):02d}{rnd.randrange(1, 29):02d}"
    number, resident = rnd.randrange(10**10), rnd.randrange(10**4)
    numbers = f"ZY{number:010d}^^^H0001^MR~110105{born}{resident:04d}^^^&2.16.156.10011.1.3&ISO^NI"
    name = f"{rnd.choice(_FAMILIES)}^{''.join(rnd.choices(_GIVEN, k=2))}^^^^^L"
    address = f"北京路{rnd.randrange(999)}号^^北京^^100000^CHN^H"
    phone = f"139{rnd.randrange(10**8):08d}^PRN^CP"
    bed = f"W{rnd.randrange(40):02d}^{rnd.randrange(100, 999)}^0{rnd.randrange(1, 4)}"
    visit = f"V{rnd.randrange(10**9):09d}^^^H0001^VN"
    return {
        "pid": f"PID|1||{numbers}||{name}||{born}|{rnd.choice('MF')}|||{address}||{phone}",
        "pv1": f"PV1|1|I|{bed}||||{_xcn(doctor)}{'|' * 12}{visit}{'|' * 25}20240501080000",
        "doctor": _xcn(doctor),
    }


def _xcn(person: tuple[str, str, str]) -> str:
    return f"{'^'.join(person)}^^^^^^H0001"


def _message(
    rnd: random.Random,
    number: int,
    at: int,
    patient: dict[str, str],
    panel: list[dict[str, Any]],
    analyst: tuple[str, str, str],
) -> bytes:
    taken, done = _dtm(at - rnd.randrange(1800, 7200)), at - rnd.randrange(60, 900)
    ids = f"P{number}^HIS|F{number}^LIS"
    doctor, seen = patient["doctor"], _xcn(analyst)
    lines = [
        f"MSH|^~\\&|LIS|H0001|YILIAN|HUB|{_dtm(at)}||ORU^R01^ORU_R01|M{number}|P|2.5.1"
        "|||AL|NE|CHN|UNICODE UTF-8",
        patient["pid"],
        patient["pv1"],
        f"ORC|RE|{ids}||CM||||{taken}|||{doctor}",
        f"OBR|1|{ids}|{panel[0]['code']}|||{taken}|||||||{taken}||{doctor}||||||{_dtm(done)}||LAB|F",
    ]
    for place, test in enumerate(panel, 1):
        low, high, unit = test["low"], test["high"], test["unit"]
        value = rnd.uniform(low * 0.6, high * 1.3)
        flag = "L" if value < low else "H" if value > high else "N"
        lines.append(
            f"OBX|{place}|NM|{test['code']}||{value:.2f}|{unit}^{unit}^UCUM|{low:.1f}-{high:.1f}"
            f"|{flag}|||F|||{taken}||{seen}|||{_dtm(done - place)}"
        )
    return ("\r".join(lines) + "\r").encode()


def _dtm(at: int) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(at))


FEEDS = {"plain": plain_messages, "rich": rich_messages}


def measure(count: int = 3000, seed: int = 7) -> Iterator[Figures]:
    """Convert that many messages of each feed once each; the first tenth only warms up."""
    for feed, messages in FEEDS.items():
        yield _measured(feed, list(messages(count, seed)))


def _measured(feed: str, every: list[bytes]) -> Figures:
    count = len(every)
    warm = max(1, count // 10)
    options = Options()
    for raw in every[:warm]:
        convert(raw, options)
    gc.freeze()  # all three as a hub's readers do
    gc.set_threshold(50_000, 20, 20)
    enlarge_pages()
    costs: list[tuple[float, float, float, float]] = []
    sizes = resources = 0
    for start in range(warm, count, _CHUNK):
        chunk = every[start : start + _CHUNK]
        read, _ = _cost(er7.read, chunk)
        made, bundles = _cost(lambda raw: convert(raw, options)[0].bundle, chunk)
        written, texts = _cost(_ENCODE, bundles)
        both, _ = _cost(lambda text: json.dumps(json.loads(text)), texts)
        costs.append((read, made, written, both))
        sizes += sum(map(len, texts))
        resources += sum(len(bundle["entry"]) for bundle in bundles)
    best = [min(column) for column in zip(*costs, strict=True)]
    median = sorted(cost[1] for cost in costs)[len(costs) // 2]
    measured = count - warm
    return Figures(feed, *best, median, resources / measured, sizes / measured)


def _cost(work: Callable[[Any], Any], given: list[Any]) -> tuple[float, list[Any]]:
    begun = time.process_time()
    out = [work(one) for one in given]
    return (time.process_time() - begun) / len(given) * 1e6, out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    for figures in measure(args.messages, args.seed):
        print(*figures.lines(), sep="\n")


if __name__ == "__main__":
    main()
