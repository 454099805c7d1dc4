"""The pages: what is running, what was received, what became of it.

`/inbox` and `/inbox/{id}` answer JSON to programs and HTML to browsers, `/` JSON on request. The
bytes of messages and of answers are patient data: they are shown on this machine only (`local.py`),
and that is logged. What failed is applied again, or put aside, by a POST of a form or of JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Blueprint, Request, Response, current_app, render_template, request

from app.clock import from_us, instant
from app.console import terminology, texts
from app.console.counts import Kept
from app.console.local import is_local
from app.console.services import Hub, Message, Words
from app.errors import Forbidden, Invalid, Malformed, NotFound
from app.store.entries import local_reference

log = logging.getLogger(__name__)

TYPES_MOST = 100_000  # resources of one type are counted so far
MESSAGES_MOST = 10_000
_LAST = 25  # messages on the start page
_PAGE, _PAGE_MOST = 50, 500
_REASON_MOST = 500
# What may stand in the address of a listing.
_NAMED = frozenset(
    ("feed", "state", "source", "control_id", "since", "until", "count", "before", "lang")
)
_STATES = ("received", "applied", "duplicate", "failed", "discarded", "replay")
_TEXT_MOST = 64 << 10  # of a message are shown as text
_CHARSETS = ("utf-8", "gb18030")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept, Accept-Language",
}


def blueprint(hub: Hub) -> Blueprint:
    """Return the routes of the console."""
    console = Blueprint(
        "console",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/static",
    )
    types = Kept(lambda: hub.store.count_types(TYPES_MOST))
    feeds = Kept(lambda: _by_feed(hub))

    @console.get("/")
    def start() -> Response:
        running = {name: text for name, text in hub.listeners().items() if name != "pid"}
        if _prefers_json(request):
            found = {"listeners": running, "resources": types.get(), "messages": feeds.get()}
            return _json(found)
        return _page(
            "start.html",
            hub,
            listeners=running,
            base=request.host_url,
            iot=any(rule.rule.startswith("/iot/") for rule in current_app.url_map.iter_rules()),
            types=sorted(types.get().items()),
            types_most=TYPES_MOST,
            feeds=feeds.get(),
            states=_STATES,
            messages_most=f"{MESSAGES_MOST:,}",
            messages=hub.inbox.page(count=_LAST),
        )

    @console.get("/inbox")
    def inbox() -> Response:
        count = _number("count", _PAGE)
        count = min(_PAGE if count is None else count, _PAGE_MOST)
        found = hub.inbox.page(before=_number("before", None), count=count + 1, **_words())
        more = len(found) > count
        messages = found[:count]
        following = _following(messages[-1].id) if more and messages else None
        if _wants_json(request):
            listed = [_facts(message) for message in messages]
            return _json({"messages": listed, "next": following})
        query = request.query_string.decode("ascii", "replace")
        again = f"/inbox/replay?{query}" if request.args.getlist("state") == ["failed"] else None
        return _page("inbox.html", hub, messages=messages, following=following, again=again)

    @console.post("/inbox/replay")
    def replay_all() -> Response:
        if unknown := sorted(request.args.keys() - _NAMED):
            # Passed over, it would not narrow what is applied again.
            text = f"a listing is narrowed by {', '.join(sorted(_NAMED))}"
            raise Invalid(text, at=f"http.{unknown[0]}")
        words = _words()
        if not any(words.values()):
            raise Invalid("say which messages: state=failed, feed, source, since, until ...")
        count = hub.inbox.replay_all(**words)
        log.info("inbox.replay", extra={"count": count})
        return _see("/inbox") if _is_form(request) else _json({"replayed": count}, 202)

    @console.post("/inbox/<int:id_>/replay")
    def replay(id_: int) -> Response:
        hub.inbox.replay(_there(id_))
        log.info("inbox.replay", extra={"inbox_id": id_})
        return _changed(id_, 202)

    @console.post("/inbox/<int:id_>/discard")
    def discard(id_: int) -> Response:
        hub.inbox.discard(_there(id_), _reason(request))
        log.info("inbox.discard", extra={"inbox_id": id_})
        return _changed(id_, 200)

    def _changed(id_: int, status: int) -> Response:
        if _is_form(request):
            return _see(f"/inbox/{id_}")
        return _json(_facts(hub.inbox.get(id_)), status)

    @console.get("/inbox/<int:id_>")
    def message(id_: int) -> Response:
        found = _entry(hub, id_)
        local = is_local(request)
        if local and (found.raw or any(found.answers)):
            log.warning("inbox.shown", extra={"inbox_id": found.id, "feed": found.feed})
        if _wants_json(request):
            facts = _facts(found) | {"size_bytes": len(found.raw)}
            if local:
                facts["answers"] = [_text(answer) for part in found.answers for answer in part]
            return _json(facts)
        answers = [_text(answer) for part in found.answers for answer in part] if local else []
        text = _text(found.raw) if local else None
        return _page("message.html", hub, message=found, local=local, text=text, answers=answers)

    @console.get("/inbox/<int:id_>/raw")
    def raw(id_: int) -> Response:
        if not is_local(request):
            raise Forbidden("message contents are shown on the hub's own machine only")
        found = _entry(hub, id_)
        if not found.raw:
            raise NotFound("the bytes of this message are no longer kept")
        log.warning("inbox.shown", extra={"inbox_id": found.id, "feed": found.feed})
        response = Response(found.raw, content_type="application/octet-stream")
        response.headers.update(_HEADERS)
        response.headers["Content-Disposition"] = f'attachment; filename="message-{id_}"'
        return response

    terminology.add_routes(console, hub, _page, lambda: _language(request))
    return console


def _by_feed(hub: Hub) -> Mapping[str, Mapping[str, int]]:
    """Return feed -> state -> how many of the newest messages."""
    found: dict[str, dict[str, int]] = {}
    for one in hub.inbox.counts(MESSAGES_MOST):
        found.setdefault(one.feed, {})[one.state] = one.count
    return found


def _entry(hub: Hub, id_: int) -> Message:
    return hub.inbox.get(_there(id_))


def _there(id_: int) -> int:
    """Return a number that an entry can have."""
    if id_ >= 1 << 63:
        raise NotFound("there is no such inbox entry")
    return id_


def _words() -> Words:
    """Return which messages the query names."""
    states = [name for name in request.args.getlist("state") if name]
    if not set(states) <= set(_STATES):
        raise Invalid(f"a state is one of {', '.join(_STATES)}", at="http.state")
    said = request.args.get
    return Words(
        feed=said("feed") or None,
        source=said("source") or None,
        control_id=said("control_id") or None,
        states=states,
        since=said("since"),
        until=said("until"),
    )


def _reason(asked: Request) -> str:
    """Return why a message is put aside: a field of a form, or a member of a JSON object."""
    if _is_form(asked):
        reason: Any = asked.form.get("reason")
    else:
        try:
            body = orjson.loads(asked.get_data())
        except orjson.JSONDecodeError as exc:
            raise Malformed("the body is not JSON") from exc
        reason = body.get("reason") if isinstance(body, dict) else None
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= _REASON_MOST:
        raise Invalid(f"a reason of at most {_REASON_MOST} characters is needed", at="reason")
    return reason.strip()


def _is_form(asked: Request) -> bool:
    """Return whether a person pressed a button."""
    return asked.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data")


def _number(name: str, default: int | None) -> int | None:
    text = request.args.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 63):
        raise Invalid("a positive whole number is needed", at=f"http.{name}")
    return int(text)


def _following(last: int) -> str:
    """Return the address of the next page of this listing."""
    query = {**request.args.to_dict(flat=False), "before": [str(last)]}
    pairs = [(name, value) for name, values in query.items() for value in values]
    return f"{request.path}?{urlencode(pairs)}"


def _facts(message: Message) -> dict[str, Any]:
    """Return a message for programs, without its bytes and answers."""
    issues = [
        {"severity": i.severity, "code": i.code, "text": i.text, "at": i.at} for i in message.issues
    ]
    return {
        "id": message.id,
        "received": instant(message.received_us),
        "state": message.state.name.lower(),
        "feed": message.feed,
        "source": message.source,
        "peer": message.peer,
        "kind": message.kind,
        "control_id": message.control_id,
        "repeats": message.repeats or None,
        "issues": issues,
        "touched": list(message.touched),
    }


def _text(raw: bytes) -> str | None:
    """Return bytes as text to look at, None for what is none (DICOM)."""
    if not raw or b"\0" in raw or len(raw) > _TEXT_MOST:
        return None
    for charset in _CHARSETS:
        try:
            text = raw.decode(charset)
        except UnicodeDecodeError:
            continue
        return text.replace("\r\n", "\n").replace("\r", "\n")
    return raw.decode("latin-1").replace("\r", "\n")


# --- answers -------------------------------------------------------------------------------------


def _wants_json(asked: Request) -> bool:
    """Return whether a program asks: a browser names text/html."""
    return asked.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html"


def _prefers_json(asked: Request) -> bool:
    """Return whether JSON was asked for by name: the start page is for people."""
    return asked.accept_mimetypes.best_match(["text/html", "application/json"]) != "text/html"


def _language(asked: Request) -> str:
    chosen = asked.args.get("lang", "")
    if chosen in texts.LANGUAGES:
        return chosen
    return asked.accept_languages.best_match(list(texts.LANGUAGES)) or "en"


def _in_language(code: str) -> str:
    """Return the address of this page in another language."""
    query = request.args.to_dict(flat=False) | {"lang": [code]}
    return f"?{urlencode(query, doseq=True)}"


def _page(template: str, hub: Hub, **values: Any) -> Response:
    language = _language(request)
    html = render_template(
        template,
        t=texts.texts(language),
        tag=texts.TAGS[language],
        language=language,
        languages=texts.LANGUAGES,
        in_language=_in_language,
        version=hub.http.software_version,
        when=lambda us: f"{from_us(us).astimezone(hub.http.zone):%Y-%m-%d %H:%M:%S}",
        versionless=_versionless,
        by_type=_by_type,
        **values,
    )
    response = Response(html, content_type="text/html; charset=utf-8")
    response.headers.update(_HEADERS)
    return response


def _versionless(reference: str) -> str:
    """Return Type/id of Type/id/_history/version."""
    local = local_reference(reference)
    return "/".join(local) if local else reference


def _by_type(touched: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return type and resources of what a message wrote, in order of first appearance."""
    found: dict[str, list[str]] = {}
    for reference in dict.fromkeys(map(_versionless, touched)):
        found.setdefault(reference.partition("/")[0], []).append(reference)
    return list(found.items())


def _see(address: str) -> Response:
    """Lead a browser on after a form (303: with a GET)."""
    return Response(status=303, headers={**_HEADERS, "Location": address})


def _json(content: Any, status: int = 200) -> Response:
    response = Response(orjson.dumps(content), status, content_type="application/json")
    response.headers.update(_HEADERS)
    return response
