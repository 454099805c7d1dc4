"""Answers a GraphQL query from the store: R4 graphql.html.

Fields are the names of FHIR JSON (`valueQuantity`, `_birthDate`). What a resource does not have is
left out of the answer. Lists can be narrowed by the value of an element, by `fhirpath`, `_count`
and `_offset`. `resource` follows a reference; `[Type]List` and `[Type]Connection` search, inside of
a resource by what refers to it (`_reference`). `-` in the name of a search parameter is written
`_`. Of the directives @include, @skip, @first, @singleton, @flatten and @slice are known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from app.errors import Deleted, Invalid, NotFound, NotSupported, TooCostly
from app.fhir import definitions
from app.fhir.fhirpath import engine
from app.fhir.fhirpath.values import Element, children, element_of, is_of, scalar
from app.rest.graphql.language import Directive, Document, Field, Query, Selection, Spread, Variable
from app.rest.services import Store
from app.store.types import SearchPage, SearchRequest

Json = dict[str, Any]

_MAX_FIELDS = 200_000  # looked at in one query
_MAX_READS = 2_000  # references followed and searches made
_DIRECTIVES = frozenset(("include", "skip", "first", "singleton", "flatten", "slice"))
_LIST, _CONNECTION = "List", "Connection"
_TYPE_NAME = "__typename"  # GraphQL's own name for the type of anything


class Execution:
    """One query on its way; what it may cost is counted over all of it."""

    def __init__(
        self, store: Store, base: str, document: Document, name: str | None, given: Json
    ) -> None:
        self._store = store
        self._base = base
        self._fragments = document.fragments
        self._query = _chosen(document.queries, name)
        self._variables = _variables(self._query, given)
        self._fields = self._reads = 0
        self._spreading: list[str] = []

    def on_system(self) -> Json:
        """Return the data of a query that begins at the whole system."""
        out: Json = {}
        for field in self._merged(self._query.selections, None):
            if not self._search_into(out, field, None, False, ""):
                self._add(out, field, [self._read(field)], False, "")
        return out

    def on_resource(self, type_name: str, id: str) -> Json:
        """Return the data of a query about one resource. Raises NotFound, Deleted."""
        return self._object(self._stored(type_name, id), self._query.selections)

    # --- objects ---------------------------------------------------------------------------------

    def _object(self, focus: _Focus, selections: Sequence[Selection]) -> Json:
        out: Json = {}
        self._fill(out, focus, selections, False, "")
        return out

    def _fill(
        self,
        out: Json,
        focus: _Focus,
        selections: Sequence[Selection],
        many: bool,
        suffix: str,
    ) -> None:
        """Add the selected fields of one element; `many`: they come from several elements."""
        for field in self._merged(selections, focus.element):
            if not self._special(out, focus, field, many, suffix):
                self._member(out, focus, field, many, suffix)

    def _special(self, out: Json, focus: _Focus, field: Field, many: bool, suffix: str) -> bool:
        """Add what a field is that is no element; say whether it is one."""
        element = focus.element
        is_resource = definitions.is_resource_type(element.type)
        if field.name == _TYPE_NAME or (field.name == "resourceType" and is_resource):
            self._put(out, field, element.type, many, suffix)
            return True
        if field.name == "resource" and element.type == "Reference":
            target = self._target(focus, field)
            self._add(out, field, [] if target is None else [target], many, suffix)
            return True
        return element is focus.resource and self._search_into(out, field, element, many, suffix)

    def _add(
        self,
        out: Json,
        field: Field,
        found: Sequence[_Focus],
        many: bool,
        suffix: str,
        *,
        listed: bool = False,
    ) -> None:
        """Add resources that a field leads to; `listed`: the field is a list of them."""
        for index, one in enumerate(found):
            place = suffix + self._slice(one, field, index)
            if _has(field, "flatten"):
                spread = many or (listed and not _has(field, "first"))
                self._fill(out, one, _needed(field), spread, place)
            else:
                self._put(out, field, self._object(one, _needed(field)), many or listed, place)

    def _member(self, out: Json, focus: _Focus, field: Field, many: bool, suffix: str) -> None:
        extra = field.name.startswith("_")
        shape = focus.element.shape
        if focus.element.is_primitive:
            shape = definitions.structure("Element").shape
        member = shape.members.get(field.name.removeprefix("_")) if shape else None
        if member is None or (extra and not member.is_primitive):
            raise Invalid("There is no such field here", at=f"{focus.element.type}.{field.name}")
        found = [c for c in children(focus.element, member.element.name) if c.member is member]
        if member.element.is_list:
            found = list(self._narrowed(focus, field, found))
        elif field.arguments:
            raise Invalid("Only lists have arguments", at=f"{focus.element.type}.{field.name}")
        first = _has(field, "first")
        if first:
            found = found[:1]
        if not member.is_primitive or extra:
            _needed(field)
        elif field.selections:
            raise Invalid("This field has no fields", at=f"{focus.element.type}.{field.name}")
        flatten = _has(field, "flatten")
        for index, child in enumerate(found):
            inner = focus.at(child)
            place = suffix + self._slice(inner, field, index)
            if flatten:
                spread = many or (member.element.is_list and not first)
                self._fill(out, inner, field.selections, spread, place)
            elif extra:
                if child.extra:
                    bare = Element(None, child.type, None, extra=child.extra, member=member)
                    value = self._object(focus.at(bare), field.selections)
                    self._put(out, field, value, many or member.element.is_list, place)
            elif child.value is not None:
                value = (
                    child.value if member.is_primitive else self._object(inner, field.selections)
                )
                self._put(out, field, value, many or member.element.is_list, place)

    def _put(self, out: Json, field: Field, value: Any, many: bool, suffix: str) -> None:
        key = field.key + suffix
        if many and not _has(field, "singleton"):
            out.setdefault(key, []).append(value)
        elif key in out and out[key] != value:
            raise Invalid("One name would stand for several values", at=f"http.query.{field.name}")
        else:
            out[key] = value

    # --- lists -----------------------------------------------------------------------------------

    def _narrowed(self, focus: _Focus, field: Field, found: Sequence[Element]) -> Iterator[Element]:
        arguments = {name: self._value(given) for name, given in field.arguments.items()}
        skip = _number(arguments.pop("_offset", "0"))
        most = _number(arguments.pop("_count", str(len(found))))
        kept = (one for one in found if self._meets(focus.at(one), arguments))
        for index, one in enumerate(kept):
            if skip <= index < skip + most:
                yield one

    def _meets(self, focus: _Focus, arguments: Mapping[str, Any]) -> bool:
        for name, wanted in arguments.items():
            if name == "fhirpath":
                if not engine.compiled(str(wanted), trusted=False).holds(
                    focus.element, resource=focus.resource
                ):
                    return False
                continue
            shape = focus.element.shape
            if shape is None or name not in shape.members:
                raise Invalid("There is no such argument here", at=f"{focus.element.type}.{name}")
            own = [child.value for child in children(focus.element, name)]
            if not any(_text(value) == _text(wanted) for value in own):
                return False
        return True

    def _slice(self, focus: _Focus, field: Field, index: int) -> str:
        """Return what @slice adds to the name of an element of a list."""
        directive = _directive(field, "slice")
        if directive is None:
            return ""
        expression = self._value(directive.arguments.get("fhirpath"))
        if not isinstance(expression, str):
            raise Invalid("@slice needs `fhirpath`", at="http.query", code="required")
        if expression == "$index":
            return f".{index}"
        items = engine.compiled(expression, trusted=False).evaluate(
            focus.element, resource=focus.resource
        )
        return "".join(f".{_text(scalar(item))}" for item in items[:1])

    # --- resources -------------------------------------------------------------------------------

    def _read(self, field: Field) -> _Focus:
        """Return the resource of `Patient(id: "1")`."""
        if not definitions.is_resource_type(field.name):
            raise Invalid("There is no such field here", at=f"http.query.{field.name}")
        arguments = dict(field.arguments)
        id = self._value(arguments.pop("id", None))
        if not isinstance(id, str) or arguments:
            raise Invalid("A resource is read by its `id` alone", at=f"http.query.{field.name}")
        return self._stored(field.name, id)

    def _stored(self, type_name: str, id: str) -> _Focus:
        self._spend_read()
        return _focus(self._store.read(type_name, id).body)

    def _target(self, focus: _Focus, field: Field) -> _Focus | None:
        """Return what a reference refers to; None when that may be missing, or is of another type.

        Raises NotFound for what is not here, unless it is `optional`.
        """
        arguments = dict(field.arguments)
        optional = self._value(arguments.pop("optional", False)) is True
        wanted = self._value(arguments.pop("type", None))
        if arguments:
            raise Invalid("`resource` has `optional` and `type`", at="Reference.resource")
        text = focus.element.value.get("reference")
        try:
            found = self._resolved(focus, text if isinstance(text, str) else "")
        except (NotFound, Deleted):
            if optional:
                return None
            raise
        return found if wanted in (None, found.resource.type) else None

    def _resolved(self, focus: _Focus, reference: str) -> _Focus:
        if reference.startswith("#"):
            for contained in focus.resource.value.get("contained", ()):
                if contained.get("id") == reference[1:]:
                    return focus.at(element_of(contained))
        local = reference.removeprefix(f"{self._base}/").split("/")
        if len(local) in (2, 4) and definitions.is_resource_type(local[0]):
            if len(local) == 4 and local[2] == "_history":
                self._spend_read()
                return _focus(self._store.vread(local[0], local[1], local[3]).body)
            return self._stored(local[0], local[1])
        raise NotFound("A reference leads to nothing here", at="Reference.reference")

    def _search_into(
        self, out: Json, field: Field, about: Element | None, many: bool, suffix: str
    ) -> bool:
        """Add what `[Type]List` or `[Type]Connection` finds; say whether the field is one."""
        type_name = field.name.removesuffix(_LIST)
        if type_name != field.name and definitions.is_resource_type(type_name):
            page = self._search(type_name, field, about, ())
            found = page.matches[:1] if _has(field, "first") else page.matches
            if not (found or many or _has(field, "flatten")):
                self._put(out, field, [], many, suffix)
            self._add(out, field, [_focus(one.body) for one in found], many, suffix, listed=True)
            return True
        type_name = field.name.removesuffix(_CONNECTION)
        if type_name != field.name and definitions.is_resource_type(type_name):
            self._put(out, field, self._connection(type_name, field, about), many, suffix)
            return True
        return False

    def _connection(self, type_name: str, field: Field, about: Element | None) -> Json:
        """Return a page: R4's forward-only part, for pages are found by seeking."""
        fields = self._merged(_needed(field), None)
        counted = any(one.name == "count" for one in fields)
        page = self._search(type_name, field, about, [("_total", "accurate")] if counted else ())
        out: Json = {}
        for one in fields:
            if one.name == "edges":
                out[one.key] = [self._edge(found.body, one) for found in page.matches]
            elif one.name in _OF_PAGE:
                value = _OF_PAGE[one.name](page)
                if value is not None:
                    out[one.key] = value
            else:
                raise Invalid("A connection has no such field", at=f"{field.name}.{one.name}")
        return out

    def _edge(self, body: bytes, edges: Field) -> Json:
        out: Json = {}
        for one in self._merged(_needed(edges), None):
            if one.name == "mode":
                out[one.key] = "match"
            elif one.name == "resource":
                out[one.key] = self._object(_focus(body), _needed(one))
            elif one.name != "score":  # none is computed
                raise Invalid("An edge has mode, score and resource", at=f"edges.{one.name}")
        return out

    def _search(
        self,
        type_name: str,
        field: Field,
        about: Element | None,
        more: Sequence[tuple[str, str]],
    ) -> SearchPage:
        self._spend_read()
        arguments = {name: self._value(given) for name, given in field.arguments.items()}
        params = list(more)
        if about is not None:
            code = arguments.pop("_reference", None)
            if not isinstance(code, str):
                raise Invalid("Say by `_reference` what refers here", at=field.name)
            params.append((code.replace("_", "-"), f"{about.type}/{about.value['id']}"))
        for name, given in arguments.items():
            code = "_page" if name == "_cursor" else name
            code = code if code.startswith("_") else code.replace("_", "-")
            for value in given if isinstance(given, list) else [given]:
                params.append((code, _text(value)))
        if any(code in _REDUCING for code in arguments):
            raise NotSupported("GraphQL selects the fields itself", at=field.name)
        return self._store.search(SearchRequest(type_name, params, base=self._base))

    # --- selections ------------------------------------------------------------------------------

    def _merged(self, selections: Sequence[Selection], element: Element | None) -> Sequence[Field]:
        """Return the fields to be answered; one that stands twice has the selections of both."""
        found: dict[tuple[str, int], Field] = {}
        for field in self._fields_of(selections, element):
            place = (field.key, len(found) if _has(field, "flatten") else -1)
            known = found.get(place)
            if known is None:
                found[place] = field
                continue
            if replace(known, selections=()) != replace(field, selections=()):
                raise Invalid("One name stands for two fields", at=f"http.query.{field.name}")
            found[place] = replace(known, selections=[*known.selections, *field.selections])
        return list(found.values())

    def _fields_of(
        self, selections: Sequence[Selection], element: Element | None
    ) -> Iterator[Field]:
        """Yield the fields that are to be answered for an element, those of fragments too."""
        for selection in selections:
            self._spend_field()
            if not self._wanted(selection.directives):
                continue
            if isinstance(selection, Field):
                yield selection
            elif isinstance(selection, Spread):
                fragment = self._fragments.get(selection.name)
                if fragment is None or selection.name in self._spreading:
                    raise Invalid("A fragment is missing, or contains itself", at="http.query")
                if _fits(element, fragment.type):
                    self._spreading.append(selection.name)
                    found = list(self._fields_of(fragment.selections, element))
                    self._spreading.pop()
                    yield from found
            elif _fits(element, selection.type):
                yield from self._fields_of(selection.selections, element)

    def _wanted(self, directives: Sequence[Directive]) -> bool:
        for directive in directives:
            if directive.name not in _DIRECTIVES:
                raise NotSupported("There is no such directive here", at="http.query")
            if directive.name in ("include", "skip"):
                condition = self._value(directive.arguments.get("if"))
                if not isinstance(condition, bool):
                    raise Invalid("The directive needs `if`", at="http.query", code="required")
                if condition is (directive.name == "skip"):
                    return False
        return True

    def _value(self, given: Any) -> Any:
        if isinstance(given, Variable):
            if given.name not in self._variables:
                raise Invalid("A variable is not declared", at="http.query")
            return self._variables[given.name]
        return [self._value(one) for one in given] if isinstance(given, list) else given

    # --- costs -----------------------------------------------------------------------------------

    def _spend_field(self) -> None:
        self._fields += 1
        if self._fields > _MAX_FIELDS:
            raise TooCostly("The query asks for too many fields", at="http.query")

    def _spend_read(self) -> None:
        self._reads += 1
        if self._reads > _MAX_READS:
            raise TooCostly("The query follows too many references", at="http.query")


class _Focus:
    """An element and the resource it is part of (of a contained one: the one around it)."""

    __slots__ = ("element", "resource")

    def __init__(self, element: Element, resource: Element) -> None:
        self.element = element
        self.resource = resource

    def at(self, element: Element) -> _Focus:
        return _Focus(element, self.resource)


def _focus(body: bytes) -> _Focus:
    element = element_of(json.loads(body, parse_float=Decimal))
    return _Focus(element, element)


def _chosen(queries: Sequence[Query], name: str | None) -> Query:
    found = [query for query in queries if name is None or query.name == name]
    if len(found) != 1:
        raise Invalid("Say by `operationName` which query is meant", at="http.operationName")
    return found[0]


def _variables(query: Query, given: Json) -> Json:
    missing = [name for name, (needed, _) in query.variables.items() if needed]
    if any(given.get(name) is None for name in missing):
        raise Invalid("A variable has no value", at="http.variables", code="required")
    return {name: given.get(name, default) for name, (_, default) in query.variables.items()}


def _fits(element: Element | None, type_name: str | None) -> bool:
    return type_name is None or element is None or is_of(element, type_name)


def _needed(field: Field) -> Sequence[Selection]:
    if not field.selections:
        raise Invalid("Say which of its fields are wanted", at=f"http.query.{field.name}")
    return field.selections


def _directive(field: Field, name: str) -> Directive | None:
    return next((one for one in field.directives if one.name == name), None)


def _has(field: Field, name: str) -> bool:
    return _directive(field, name) is not None


def _number(given: Any) -> int:
    text = _text(given)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Invalid("_count and _offset are whole numbers, not negative", at="http.query")
    return int(text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


_OF_PAGE: Mapping[str, Any] = {
    "count": lambda page: page.total,
    "pagesize": lambda page: len(page.matches),
    "next": lambda page: page.next,
    "offset": lambda page: None,
    "first": lambda page: None,
    "previous": lambda page: None,
    "last": lambda page: None,
}
_REDUCING = frozenset(("_summary", "_elements", "_include", "_revinclude", "_total"))
