"""Chinese names found by their pinyin, beside the search by characters. An extra to R4."""

import subprocess
import sys

import pytest

WEI = {"family": "张", "given": ["伟"], "text": "张伟"}


def patient(id_, **name):
    return {"resourceType": "Patient", "id": id_, "name": [name]}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=zhangwei", "text"),
        ("name=zw", "text"),
        ("name=ZhangW", "text"),
        ("name=wei", "text"),
        ("family=zhang", "text"),
        ("given=wei", "text"),
        ("phonetic=zhangwei", "text"),
        ("name=danmei", "parts"),
        ("name=shanmei", "parts"),
        ("name=dm", "parts"),
        ("family=shan", "parts"),
        ("name=zhao", "latin"),
        ("name=wz", ""),
        ("name:exact=zhangwei", ""),
        ("name:contains=hangwe", ""),
        ("name=张伟", "text"),
        ("name:exact=张伟", "text"),
        ("name=单美", "parts"),
        ("name:exact=单美", ""),
        ("name=美单", ""),
        ("family=单美", ""),
        ("name=ZhaoÉ", ""),
    ],
)
def test_a_name_is_found_by_syllables_and_initials(kit, query, found):
    kit.update(patient("text", **WEI))
    kit.update(patient("parts", family="单", given=["美"]))
    kit.update(patient("latin", family="Zhao", given=["Émile"]))

    assert kit.found("Patient", query) == found.split()


def test_the_order_is_that_of_the_names_themselves(kit):
    kit.update(patient("han", **WEI))
    kit.update(patient("latin", family="zz"))

    assert kit.found("Patient", "_sort=family") == ["latin", "han"]
    assert kit.found("Patient", "_sort=-family") == ["han", "latin"]


def test_a_renamed_person_is_no_longer_found_by_the_old_pinyin(kit):
    kit.update(patient("p", **WEI))

    kit.update(patient("p", family="王", given=["伟"]))

    assert kit.found("Patient", "name=zhang") == []
    assert kit.found("Patient", "name=wangwei") == ["p"]


def test_practitioners_and_related_persons_have_it_too(kit):
    kit.update({**patient("d", **WEI), "resourceType": "Practitioner"})

    assert kit.found("Practitioner", "name=zw") == ["d"]


def test_names_without_han_characters_load_no_dictionary():
    code = (
        "import sys; from datetime import UTC; from app.store.entries import entries_of;"
        "entries_of('Patient', {'resourceType': 'Patient', 'name': [{'family': 'Müller'}]},"
        " tenant=0, zone=UTC); sys.exit('pypinyin' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
