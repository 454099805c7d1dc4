"""How many ten-OBX ORUs a second one core converts to Bundles.

    python bench/convert.py [--seconds 5] [--json]

Each message differs (control id, numbers, patient, values), as in a real feed; codes and units
repeat. The figure is `convert` alone: bytes to the Bundle as Python objects; with --json, as bytes.
CPU time is counted, so that other work on the machine does not.
"""

from __future__ import annotations

import argparse
import time

import msgspec

from app.feeds.hl7v2.convert import Options, convert

TESTS = (
    ("2345-7", "Glucose", "mmol/L", "3.9-6.1"),
    ("2160-0", "Creatinine", "umol/L", "44-97"),
    ("2823-3", "Potassium", "mmol/L", "3.5-5.3"),
    ("2951-2", "Sodium", "mmol/L", "137-147"),
    ("2075-0", "Chloride", "mmol/L", "99-110"),
    ("17861-6", "Calcium", "mmol/L", "2.11-2.52"),
    ("1742-6", "ALT", "U/L", "9-50"),
    ("1920-8", "AST", "U/L", "15-40"),
    ("1975-2", "Bilirubin", "umol/L", "<23.0"),
    ("1751-7", "Albumin", "g/L", "40-55"),
)


def message(number: int) -> bytes:
    """Return the n-th ORU^R01 with one order and ten numeric results."""
    lines = [
        f"MSH|^~\\&|LIS|H0001|YILIAN|HUB|20240502{number % 24:02d}3000||ORU^R01^ORU_R01|M{number}|P"
        "|2.5.1|||AL|NE|CHN|UNICODE UTF-8",
        f"PID|1||ZY{number:010d}^^^H0001^MR||张^伟^^^^^L||19800101|M|||北京路1号^^北京^^100000^CHN",
        f"PV1|1|I|W12^1201^02|||||||||||||||||V{number:09d}^^^H0001^VN",
        f"ORC|RE|P{number}^HIS|F{number}^LIS||CM||||20240502080000|||D001^王^芳^^^^^^H0001",
        f"OBR|1|P{number}^HIS|F{number}^LIS|24323-8^CMP^LN|||20240502083000|||||||||D001^王^芳"
        "|||||||20240502093000||LAB|F",
    ]
    for index, (code, name, unit, normal) in enumerate(TESTS, 1):
        value = f"{(number * 7 + index * 13) % 400 / 10:.1f}"
        lines.append(
            f"OBX|{index}|NM|{code}^{name}^LN||{value}|{unit}^{unit}^UCUM|{normal}|N|||F"
            "|||20240502091500||T005^李^强^^^^^^H0001"
        )
    return "\r".join(lines).encode() + b"\r"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true", help="also write each Bundle as JSON")
    args = parser.parse_args()
    options = Options()
    encode = msgspec.json.Encoder(decimal_format="number").encode
    convert(message(0), options)  # compiles the mappings
    messages = [message(number) for number in range(1, 2001)]
    done = 0
    started = time.process_time()
    while (spent := time.process_time() - started) < args.seconds:
        result = convert(messages[done % len(messages)], options)[0]
        if result.bundle is None:
            raise SystemExit("the bench message was refused")
        if args.json:
            encode(result.bundle)
        done += 1
    print(
        f"{done} messages in {spent:.2f} s: {done / spent:.0f}/s, {spent / done * 1e6:.0f} us each"
    )


if __name__ == "__main__":
    main()
