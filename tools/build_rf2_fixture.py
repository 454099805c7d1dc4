"""Build `fixtures/terminology/rf2`: a release in the form of RF2 about the faults of garden robots.

    python tools/build_rf2_fixture.py

Everything in it is invented, in English and Chinese: 300 concepts with several parents, role
groups, concrete values, retired concepts and descriptions, reference sets. The identifiers are of
namespace 9999999, which nobody has, with valid check digits; only what the format itself needs
(`is a`, the types of descriptions and so on) are SNOMED CT's own identifiers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "fixtures" / "terminology" / "rf2"
NAMESPACE = "9999999"
DATE = "20260901"
SIZE = 300

IS_A = "116680003"
FULL, SYNONYM = "900000000000003001", "900000000000013009"
PREFERRED, ACCEPTABLE = "900000000000548007", "900000000000549004"
PRIMITIVE, DEFINED = "900000000000074008", "900000000000073002"
INFERRED, SOME = "900000000000011006", "900000000000451002"
INSENSITIVE = "900000000000448009"

# Verhoeff: RF2 2.6 (check digit); the dihedral group and the permutation of positions.
_TIMES = [
    [(a + b) % 5 if a < 5 else 5 + (a - b) % 5 for b in range(5)]
    + [5 + (a + b) % 5 if a < 5 else (a - b) % 5 for b in range(5)]
    for a in range(10)
]
_MOVE = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def check_digit(digits: str) -> str:
    """Return the Verhoeff check digit of an identifier's other digits."""
    check = 0
    for place, digit in enumerate(reversed(digits), 1):
        value = int(digit)
        for _ in range(place % 8):
            value = _MOVE[value]
        check = _TIMES[check][value]
    return str(next(digit for digit in range(10) if _TIMES[check][digit] == 0))


def identifier(item: int, partition: str) -> str:
    """Return an identifier of the namespace."""
    digits = f"{item}{NAMESPACE}{partition}"
    return digits + check_digit(digits)


class Release:
    """The rows of a release, as they are made."""

    def __init__(self) -> None:
        self.concepts: list[tuple[str, ...]] = []
        self.descriptions: list[tuple[str, ...]] = []
        self.relationships: list[tuple[str, ...]] = []
        self.values: list[tuple[str, ...]] = []
        self.languages: list[tuple[str, ...]] = []
        self.members: list[tuple[str, ...]] = []
        self.module = identifier(900, "10")
        self.english, self.chinese = identifier(901, "10"), identifier(902, "10")

    def _row(self, *cells: str, active: bool = True) -> tuple[str, ...]:
        return (cells[0], DATE, "1" if active else "0", self.module, *cells[1:])

    def concept(
        self,
        names: tuple[str, str],
        tag: str,
        parents: Iterable[str] = (),
        *,
        id_: str | None = None,
        active: bool = True,
        defined: bool = False,
        others: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Add a concept with its names; others: (language, synonym)."""
        made = id_ or identifier(1000 + len(self.concepts), "10")
        status = DEFINED if defined else PRIMITIVE
        self.concepts.append(self._row(made, status, active=active))
        english, chinese = names
        self._describe(made, "en", FULL, f"{english} ({tag})", self.english)
        self._describe(made, "en", SYNONYM, english, self.english)
        self._describe(made, "zh", SYNONYM, chinese, self.chinese)
        for language, synonym in others:
            self._describe(made, language, SYNONYM, synonym, "")
        for parent in parents:
            self.relate(made, IS_A, parent)
        return made

    def _describe(self, concept: str, language: str, kind: str, term: str, refset: str) -> None:
        made = identifier(1000 + len(self.descriptions), "11")
        self.descriptions.append(self._row(made, concept, language, kind, term, INSENSITIVE))
        accepted = PREFERRED if refset else ACCEPTABLE
        refset = refset or (self.english if language == "en" else self.chinese)
        self.languages.append(self._row(self._uuid(len(self.languages)), refset, made, accepted))

    def retire_name(self, concept: str, term: str) -> None:
        """Add a description that is not used any more."""
        made = identifier(1000 + len(self.descriptions), "11")
        self.descriptions.append(
            self._row(made, concept, "en", SYNONYM, term, INSENSITIVE, active=False)
        )

    def relate(self, source: str, kind: str, target: str, group: int = 0) -> None:
        """Add a relationship."""
        made = identifier(1000 + len(self.relationships), "12")
        cells = (made, source, target, str(group), kind, INFERRED, SOME)
        self.relationships.append(self._row(*cells))

    def value(self, source: str, kind: str, value: str, group: int) -> None:
        """Add a relationship with a concrete value: #5 or "text"."""
        made = identifier(5000 + len(self.values), "12")
        self.values.append(self._row(made, source, value, str(group), kind, INFERRED, SOME))

    def member(self, refset: str, concept: str, *, active: bool = True) -> None:
        """Add a member to a reference set."""
        made = self._uuid(10_000 + len(self.members))
        self.members.append(self._row(made, refset, concept, active=active))

    @staticmethod
    def _uuid(number: int) -> str:
        return f"00000000-0000-4000-8000-{number:012x}"


SYSTEMS = {
    "drive": "行走",
    "cutting": "切割",
    "power": "供电",
    "sensing": "感知",
    "watering": "浇水",
}
SIDES = {"left": "左", "right": "右"}
# part -> its Chinese name, the systems it is part of, whether there is a left and a right
PARTS = {
    "wheel": ("车轮", ("drive",), True), "track": ("履带", ("drive",), True),
    "axle": ("车轴", ("drive",), False), "drive motor": ("行走电机", ("drive", "power"), True),
    "blade": ("刀片", ("cutting",), True),
    "blade motor": ("刀盘电机", ("cutting", "power"), False),
    "guard": ("护罩", ("cutting",), False), "battery": ("电池", ("power",), False),
    "charging plug": ("充电插头", ("power",), False),
    "solar panel": ("太阳能板", ("power",), False),
    "rain sensor": ("雨水传感器", ("sensing", "watering"), False),
    "camera": ("摄像头", ("sensing",), True), "bumper": ("防撞杆", ("sensing", "drive"), False),
    "pump": ("水泵", ("watering", "power"), False), "nozzle": ("喷嘴", ("watering",), True),
    "tank": ("水箱", ("watering",), False),
}  # fmt: skip
FAULTS = {"overheating": "过热", "jam": "卡滞", "corrosion": "腐蚀", "leak": "泄漏"}
CAUSES = {
    "moisture": ("潮气", None), "rain": ("雨水", "moisture"), "dew": ("露水", "moisture"),
    "dirt": ("污物", None), "sand": ("沙子", "dirt"), "wet grass": ("湿草", "dirt"),
    "animal": ("动物", None), "hedgehog": ("刺猬", "animal"), "snail": ("蜗牛", "animal"),
    "slug": ("蛞蝓", "animal"), "lightning": ("雷击", None), "frost": ("霜冻", None),
}  # fmt: skip
_METADATA = {
    900: ("Garden module", "花园模块"),
    901: ("English names", "英文名称"),
    902: ("Chinese names", "中文名称"),
}
DEGREES = {"slight": "轻微", "moderate": "中等", "serious": "严重"}


def build() -> Release:
    """Return the release."""
    made = Release()
    root = made.concept(("Robot concept", "机器人概念"), "root", id_=identifier(800, "10"))
    meta = made.concept(("Model component", "模型组件"), "metadata", [root])
    for number, names in _METADATA.items():
        made.concept(names, "metadata", [meta], id_=identifier(number, "10"))
    attribute = made.concept(("Attribute", "属性"), "attribute", [meta])
    kinds = {
        name: made.concept((name, chinese), "attribute", [attribute])
        for name, chinese in (
            ("Place", "部位"), ("Cause", "原因"), ("Degree", "程度"),
            ("Teeth", "齿数"), ("Litres", "升数"), ("Colour", "颜色"),
        )
    }  # fmt: skip
    immediate = made.concept(("Immediate cause", "直接原因"), "attribute", [kinds["Cause"]])
    sets = [
        made.concept((name, chinese), "metadata", [meta])
        for name, chinese in (("Spare parts in stock", "库存备件"), ("Urgent faults", "紧急故障"))
    ]
    parts, causes = _parts(made, root), _causes(made, root)
    degree = made.concept(("Degree of fault", "故障程度"), "qualifier", [root])
    degrees = [made.concept((d, c), "qualifier", [degree]) for d, c in DEGREES.items()]
    _products(made, root, kinds)
    _faults(made, root, parts, causes, degrees, kinds, immediate)
    _retired(made)
    for index, concept in enumerate(sorted(parts.values())):
        if index % 3 == 0:
            made.member(sets[0], concept)
    urgent = [row[4] for row in made.relationships if row[7] == kinds["Degree"]]
    for index, concept in enumerate(dict.fromkeys(urgent)):
        made.member(sets[1], concept, active=index % 5 != 0)
    made.member(sets[1], sets[0])
    return made


def _parts(made: Release, root: str) -> dict[str, str]:
    part = made.concept(("Robot part", "机器人部件"), "part", [root])
    systems = {
        name: made.concept((f"{name.capitalize()} part", f"{chinese}部件"), "part", [part])
        for name, chinese in SYSTEMS.items()
    }
    sided = {
        side: made.concept((f"{side.capitalize()} part", f"{chinese}侧部件"), "part", [part])
        for side, chinese in SIDES.items()
    }
    found: dict[str, str] = {}
    for name, (chinese, of, has_sides) in PARTS.items():
        found[name] = made.concept(
            (name.capitalize(), chinese), "part", [systems[one] for one in of]
        )
        for side, where in SIDES.items() if has_sides else ():
            names = (f"{side.capitalize()} {name}", f"{where}{chinese}")
            found[f"{side} {name}"] = made.concept(names, "part", [found[name], sided[side]])
    return found


def _causes(made: Release, root: str) -> dict[str, str]:
    cause = made.concept(("Cause of fault", "故障原因"), "cause", [root])
    found: dict[str, str] = {}
    for name, (chinese, above) in CAUSES.items():
        found[name] = made.concept(
            (name.capitalize(), chinese), "cause", [found[above] if above else cause]
        )
    return found


def _products(made: Release, root: str, kinds: dict[str, str]) -> None:
    product = made.concept(("Replacement product", "替换产品"), "product", [root])
    for teeth in (2, 3, 4, 6):
        one = made.concept((f"Disc with {teeth} teeth", f"{teeth}齿刀盘"), "product", [product])
        made.value(one, kinds["Teeth"], f"#{teeth}", 1)
        made.value(one, kinds["Colour"], '"grey"', 1)
    for litres in ("0.5", "1.25", "2", "10"):
        one = made.concept((f"Tank of {litres} L", f"{litres}升水箱"), "product", [product])
        made.value(one, kinds["Litres"], f"#{litres}", 1)
        made.value(one, kinds["Colour"], '"green"' if litres == "2" else '"grey"', 1)


def _faults(
    made: Release,
    root: str,
    parts: dict[str, str],
    causes: dict[str, str],
    degrees: Sequence[str],
    kinds: dict[str, str],
    immediate: str,
) -> None:
    """Add faults of parts, faults with causes below them, and some with two role groups."""
    fault = made.concept(("Robot fault", "机器人故障"), "fault", [root])
    general = {
        name: made.concept((name.capitalize(), chinese), "fault", [fault])
        for name, chinese in FAULTS.items()
    }
    plain: dict[tuple[str, str], str] = {}
    for index, (part, concept) in enumerate(parts.items()):
        for name, chinese in list(FAULTS.items())[index % 2 :: 2]:
            above = [general[name]]
            of = part.partition(" ")[2] if part.startswith(tuple(SIDES)) else ""
            if (of, name) in plain:
                above = [plain[of, name]]
            names = (f"{name.capitalize()} of {part}", f"{_chinese(made, concept)}{chinese}")
            plain[part, name] = made.concept(names, "fault", above, defined=True)
            made.relate(plain[part, name], kinds["Place"], concept, 1)
    number = 0
    room = SIZE - 10
    while len(made.concepts) < room:
        (part, name), above_id = list(plain.items())[number * 7 % len(plain)]
        cause = list(causes)[number * 5 % len(causes)]
        number += 1
        names = (
            f"{name.capitalize()} of {part} by {cause}",
            f"{CAUSES[cause][0]}致{_chinese(made, above_id)}",
        )
        one = made.concept(
            names, "fault", [above_id], defined=number % 2 == 0,
            others=[("en", f"{cause.capitalize()} {name}")] if number % 4 == 0 else (),
        )  # fmt: skip
        made.relate(one, kinds["Place"], parts[part], 1)
        made.relate(one, immediate if number % 3 == 0 else kinds["Cause"], causes[cause], 1)
        if number % 2:
            made.relate(one, kinds["Degree"], degrees[number % 3], 1 if number % 4 == 1 else 0)
        if number % 5 == 0:  # a second place with a cause of its own
            other = list(parts)[number * 3 % len(parts)]
            made.relate(one, kinds["Place"], parts[other], 2)
            made.relate(one, kinds["Cause"], causes[list(causes)[number % len(causes)]], 2)


def _chinese(made: Release, concept: str) -> str:
    return next(row[7] for row in made.descriptions if row[4] == concept and row[5] == "zh")


def _retired(made: Release) -> None:
    some = [row[0] for row in made.concepts[60:90:10]]
    for concept in some:
        made.retire_name(concept, f"Old name of {concept[:4]}")
    while len(made.concepts) < SIZE:
        number = len(made.concepts)
        made.concept((f"Retired fault {number}", f"停用故障{number}"), "fault", active=False)


HEADS = {
    "sct2_Concept_Snapshot_ROBOT": "definitionStatusId",
    "sct2_Description_Snapshot_ROBOT": (
        "conceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId"
    ),
    "sct2_Relationship_Snapshot_ROBOT": (
        "sourceId\tdestinationId\trelationshipGroup\ttypeId\tcharacteristicTypeId\tmodifierId"
    ),
    "sct2_RelationshipConcreteValues_Snapshot_ROBOT": (
        "sourceId\tvalue\trelationshipGroup\ttypeId\tcharacteristicTypeId\tmodifierId"
    ),
    "der2_cRefset_LanguageSnapshot_ROBOT": "refsetId\treferencedComponentId\tacceptabilityId",
    "der2_Refset_SimpleSnapshot_ROBOT": "refsetId\treferencedComponentId",
}


def main() -> None:
    made = build()
    tables = (made.concepts, made.descriptions, made.relationships, made.values, made.languages,
              made.members)  # fmt: skip
    for (name, head), rows in zip(HEADS.items(), tables, strict=True):
        lines = [f"id\teffectiveTime\tactive\tmoduleId\t{head}", *("\t".join(row) for row in rows)]
        folder = TARGET / ("Refset" if name.startswith("der2") else "Terminology")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}_{DATE}.txt").write_text("\r\n".join(lines) + "\r\n", "utf-8", newline="")
    print(", ".join(f"{len(rows)} in {name}" for name, rows in zip(HEADS, tables, strict=True)))


if __name__ == "__main__":
    main()
