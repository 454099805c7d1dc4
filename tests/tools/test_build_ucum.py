"""The table of UCUM atoms follows from ucum-essence.xml alone."""

from __future__ import annotations

from pathlib import Path

from tools import build_ucum

ESSENCE = """\
<root xmlns="http://unitsofmeasure.org/ucum-essence" version="9" revision-date="2030-01-01">
  <prefix Code="k"><name>kilo</name><value value="1e3"/></prefix>
  <base-unit Code="g"><name>gram</name></base-unit>
  <unit Code="t" isMetric="yes"><value value="1e3" Unit="kg"/></unit>
  <unit Code="[iU]" isMetric="yes" isArbitrary="yes"><value value="1" Unit="1"/></unit>
  <unit Code="[IU]" isMetric="yes" isArbitrary="yes"><value value="1" Unit="[iU]"/></unit>
  <unit Code="Cel" isMetric="yes" isSpecial="yes">
    <value Unit="cel(1 K)"><function name="Cel" value="1" Unit="K"/></value>
  </unit>
  <unit Code="[pH]" isMetric="no" isSpecial="yes">
    <value Unit="pH(1 mol/l)"><function name="pH" value="1" Unit="mol/l"/></value>
  </unit>
</root>
"""


def test_the_table_holds_codes_and_definitions(tmp_path: Path) -> None:
    essence = tmp_path / "ucum-essence.xml"
    essence.write_text(ESSENCE, encoding="utf-8")

    text = build_ucum.build(essence)

    module: dict[str, str] = {}
    exec(compile(text, "ucum_atoms.py", "exec"), module)  # noqa: S102 - what was just written
    assert module["VERSION"] == "9"
    assert module["PREFIXES"] == "k 1e3\n"
    assert module["ATOMS"].splitlines() == [
        "g * 1 !",
        "t * 1e3 kg",
        "[iU] * 1 !",
        "[IU] * 1 [iU]",
        "Cel * 1 @K",
        "[pH] - 1 !",
    ]
