"""Narrative.div: http://hl7.org/fhir/R4/narrative.html#xhtml, txt-1 and txt-2."""

import pytest

from app.fhir.narrative import is_narrative

NS = 'xmlns="http://www.w3.org/1999/xhtml"'


@pytest.mark.parametrize(
    "text",
    [
        f"<div {NS}>text</div>",
        f"<div {NS}><p>病人 &amp; &lt; &#160;</p><br/></div>",
        f'<div {NS}><img src="#photo" alt="x"/></div>',
        f'<div {NS} xml:lang="zh" lang="zh"><a href="http://a/b">x</a></div>',
        f'<div {NS}><table class="grid"><tr><td colspan="2" style="x">x</td></tr></table></div>',
        f"<div {NS}><!-- a comment -->x</div>",
        f"  <div {NS}>x</div>\n",
        '<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>x</h:p></h:div>',
    ],
)
def test_basic_formatting_is_a_narrative(text):
    assert is_narrative(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "<div>no namespace</div>",
        f"<p {NS}>not a div</p>",
        f"<div {NS}></div>",
        f"<div {NS}> <p> </p> </div>",
        f"<div {NS}>unclosed",
        f"<div {NS}>x</div><div {NS}>y</div>",
        f"<div {NS}><script>alert(1)</script>x</div>",
        f"<div {NS}><p onclick='x()'>x</p></div>",
        f"<div {NS}><a href=' java\tscript:x()'>x</a></div>",
        f"<div {NS}><iframe src='http://a'/>x</div>",
        f"<div {NS}><object/>x</div>",
        f"<div {NS}><form>x</form></div>",
        f"<div {NS}><svg xmlns='http://www.w3.org/2000/svg'/>x</div>",
        f"<div {NS}>&nbsp;x</div>",
        f"<div {NS}><?php x ?>x</div>",
        f"<!DOCTYPE div><div {NS}>x</div>",
        f'<!DOCTYPE div [<!ENTITY a "b">]><div {NS}>&a;</div>',
        f"<?xml version='1.0'?><div {NS}>x</div>",
        "<" * 50_000,
        "<div>" * 5000,
        f"<div {NS}>\x00</div>",
        None,
        5,
        [],
    ],
)
def test_what_is_active_or_not_well_formed_is_none(text):
    assert not is_narrative(text)
