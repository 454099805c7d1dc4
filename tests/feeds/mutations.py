"""Messages broken at random places, the same ones for the same seed."""

import random
from collections.abc import Iterator

WHOLE = (
    "MSH|^~\\&|LAB|F1|YILIAN|HUB|20250310080000||ADT^A04^ADT_A01|M1|P|2.5.1|||||CHN|UNICODE UTF-8\r"
    "EVN|A04|20250310\r"
    'PID|1||7^^^F1^MR~8^^^F1^SS||张^䶮\\T\\||19491231|F|||1 Road\\.br\\x^^Town||""\r'
    "PV1|1|I|W1^101^1|||||D1^Wang|||||||||||V1^^^F1^VN\r"
    "AL1|1|DA|P^Penicillin^L\rDG1|1||I10^Hypertension^I10\r",
    "MSH|^~\\&|LIS|F1|YILIAN|HUB|20250310080000||ORU^R01^ORU_R01|M2|P|2.5.1|||AL|AL|CHN|GB18030\r"
    "PID|1||7^^^F1^MR||张^三||19491231|F\rORC|RE|P1|L1\r"
    "OBR|1|P1|L1|24331-1^Lipids^LN|||20250310070000|||||||||||||||20250310080000||LAB|F\r"
    "NTE|1||note\rOBX|1|NM|2345-7^Glucose^LN||5.60|mmol/L|3.9-6.1|H|||F|||20250310070000\r"
    "OBX|2|TX|T^x^L||caf\\XC3A9\\ \\M2442\\;3ED\\C2842\\||||||F\rSPM|1|S1||BLD\r",
    "MSH|^~\\&|HIS|F1|YILIAN|HUB|20250310080000||ADT^A40^ADT_A39|M3|P|2.3\r"
    "EVN|A40|20250310\rPID|1||7^^^F1^MR||Zhang^San\rMRG|9^^^F1^MR\r",
)
_SPOILERS = b'|^~\\&\r\n\x0b\x1c\x1b\x00\xff\x81#M"'


def mutations(count: int, seed: int = 20250310) -> Iterator[bytes]:
    """Yield messages that are cut, doubled, joined or spoilt at one to six places."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    whole = [text.encode("gb18030" if "GB18030" in text else "utf-8") for text in WHOLE]
    for number in range(count):
        data = bytearray(rng.choice(whole).replace(b"|M", b"|%d-" % number, 1))
        for _ in range(rng.randint(1, 6)):
            data = _spoilt(data, rng)
        yield bytes(data)


def _spoilt(data: bytearray, rng: random.Random) -> bytearray:
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(6)
    if kind == 0:
        del data[at : at + rng.randint(1, 40)]
    elif kind == 1:
        data[at:at] = data[at : at + rng.randint(1, 60)]
    elif kind == 2:
        data[at:at] = bytes(rng.choice(_SPOILERS) for _ in range(3))
    elif kind == 3 and data:
        data[at % len(data)] = rng.randrange(256)
    elif kind == 4:
        data[at:at] = rng.choice((b"|", b"^", b"~", b"&", b"\r")) * rng.randint(1, 2000)
    else:
        del data[at:]
    return data or bytearray(b"M")
