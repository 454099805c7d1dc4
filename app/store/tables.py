"""The schema: one for SQLite and PostgreSQL, for Core, for migrations and for `yilian db check`.

Every table carries the distribution column `s` (the pk of the patient whose compartment the
resource belongs to, else the resource's own pk), so that the same schema can be spread over Citus
nodes. Tenants share tables: `tenant` stands in `res` and `log`, is mixed into every hash of `ix`
and `ident`, and sits in the upper half of `p` elsewhere.

Key layout of `ix.k` and `ident.k`: `keys.py`. Numbers of types, methods and parameters are on-disk
formats: they never change.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
)

metadata = MetaData()

# COLLATE "C" on PostgreSQL and BINARY (its default) on SQLite: code point order on both.
_BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")
_PK = BigInteger().with_variant(Integer, "sqlite")

res = Table(
    "res",
    metadata,
    Column("pk", _PK, primary_key=True, autoincrement=False),
    Column("tenant", SmallInteger, nullable=False),
    Column("s", BigInteger, nullable=False),
    Column("type", SmallInteger, nullable=False),
    Column("id", _BYTEWISE, nullable=False),
    # 0 create, 1 update, 2 delete: how the newest version came to be; -1: only referred to so far
    Column("method", SmallInteger, nullable=False),
    Column("vid", Integer, nullable=False),
    Column("lu", BigInteger, nullable=False),  # meta.lastUpdated, microseconds since 1970
    Column("d", BigInteger, nullable=False),  # as in ix
    Column("have", BigInteger, nullable=False),  # bit Param.bit: this parameter has a value
    Column("body", LargeBinary, nullable=False),
    # When a feed's sender told of it: 2 * (the newest message, microseconds since 1970) + 1 if
    # some elements were told at another time (`told`). Of what has none, `told` says all.
    Column("told", BigInteger),
    Index("res_id", "tenant", "type", "id", unique=True),
)

hist = Table(
    "hist",
    metadata,
    Column("pk", BigInteger, primary_key=True),
    Column("vid", Integer, primary_key=True),
    Column("s", BigInteger, nullable=False),
    Column("method", SmallInteger, nullable=False),
    Column("lu", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=True,
)

# Tokens, references, uris, composites and one row a resource for its type. d orders every list by
# the resource's primary date: 2 * (lower bound in microseconds) + 1 if a `dt` row decides.
ix = Table(
    "ix",
    metadata,
    Column("k", BigInteger, nullable=False),
    Column("d", BigInteger, nullable=False),
    Column("pk", BigInteger, nullable=False),
    Column("s", BigInteger, nullable=False),
    PrimaryKeyConstraint("k", "d", "pk", name="ix_pkey", postgresql_include=["s"]),
    sqlite_with_rowid=False,
)

# v: folded text, U+0001, text as written
string = Table(
    "str",
    metadata,
    Column("pk", BigInteger, primary_key=True),
    Column("p", BigInteger, primary_key=True),
    Column("v", _BYTEWISE, primary_key=True),
    Column("s", BigInteger, nullable=False),
    Index("str_v", "p", "v", "pk"),
    sqlite_with_rowid=False,
)

# u: number of the unit in `unit` (0: plain numbers)
qty = Table(
    "qty",
    metadata,
    Column("pk", BigInteger, primary_key=True),
    Column("p", BigInteger, primary_key=True),
    Column("u", BigInteger, primary_key=True),
    Column("lo", Double, primary_key=True),
    Column("hi", Double, primary_key=True),
    Column("s", BigInteger, nullable=False),
    Index("qty_v", "p", "u", "lo", "hi", "pk"),
    sqlite_with_rowid=False,
)

dt = Table(
    "dt",
    metadata,
    Column("pk", BigInteger, primary_key=True),
    Column("p", BigInteger, primary_key=True),
    Column("lo", BigInteger, primary_key=True),
    Column("hi", BigInteger, primary_key=True),
    Column("s", BigInteger, nullable=False),
    Index("dt_v", "p", "lo", "hi", "pk"),
    sqlite_with_rowid=False,
)

# Dictionaries of what was seen, so that `code`, `system|` and any comparable unit become lists of
# exact keys. k: the token's key in ix; for Identifier parameters one row a system, code ''.
code = Table(
    "code",
    metadata,
    Column("p", BigInteger, primary_key=True),
    Column("code", _BYTEWISE, primary_key=True),
    Column("system", _BYTEWISE, primary_key=True),
    Column("k", BigInteger, nullable=False),
    Index("code_system", "p", "system"),
    sqlite_with_rowid=False,
)

# Display texts seen with a code: `:text` finds the codes here, the body decides.
text = Table(
    "txt",
    metadata,
    Column("p", BigInteger, primary_key=True),
    Column("v", _BYTEWISE, primary_key=True),
    Column("k", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

unit = Table(
    "unit",
    metadata,
    Column("p", BigInteger, primary_key=True),
    Column("u", BigInteger, primary_key=True),
    Column("system", _BYTEWISE, nullable=False),
    Column("code", _BYTEWISE, nullable=False),
    Column("unit", _BYTEWISE, nullable=False),
    sqlite_with_rowid=False,
)

# Canonical keys of identifiers and UDIs: a scanned code finds its resources.
ident = Table(
    "ident",
    metadata,
    Column("k", BigInteger, primary_key=True),
    Column("pk", BigInteger, primary_key=True),
    Column("s", BigInteger, nullable=False),
    Index("ident_pk", "pk", "k"),
    sqlite_with_rowid=False,
)

# What resources state of other things: `f` is linked with `t`. An end is a resource (its pk) or
# whatever carries a canonical key (`ident.k`, which is negative). src: the resource that says so.
# lo, hi: when it holds, half open. Numbers of kinds: mappings/links.yaml.
link = Table(
    "link",
    metadata,
    Column("f", BigInteger, primary_key=True),
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("t", BigInteger, primary_key=True),
    Column("lo", BigInteger, primary_key=True),
    Column("hi", BigInteger, primary_key=True),
    Column("src", BigInteger, primary_key=True),
    Column("s", BigInteger, nullable=False),
    Index("link_t", "t", "kind", "f", "lo", "hi", "src"),
    sqlite_with_rowid=False,
)

# The text of each canonical key that is the end of a link.
name = Table(
    "name",
    metadata,
    Column("k", BigInteger, primary_key=True),
    Column("key", _BYTEWISE, nullable=False),
    sqlite_with_rowid=False,
)

# The change log: one row a version. digest: SHA-256 over the version; `seal` chains the digests.
log = Table(
    "log",
    metadata,
    Column("seq", _PK, primary_key=True, autoincrement=False),
    Column("tenant", SmallInteger, nullable=False),
    Column("s", BigInteger, nullable=False),
    Column("type", SmallInteger, nullable=False),
    Column("pk", BigInteger, nullable=False),
    Column("vid", Integer, nullable=False),
    Column("method", SmallInteger, nullable=False),
    Column("lu", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    # PostgreSQL's transaction number: readers stop before the oldest one still open; SQLite: 0
    Column("tx", BigInteger, nullable=False, server_default="0"),
    Index("log_lu", "tenant", "type", "lu", "seq"),
)

seal = Table(
    "seal",
    metadata,
    Column("seq", _PK, primary_key=True, autoincrement=False),  # the last log.seq it covers
    Column("digest", LargeBinary, nullable=False),
)

# Posted SearchParameters and what else every process must notice: one row a fact.
fact = Table(
    "fact",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("value", Text, nullable=False),
)

# The durable inbox of all feeds: one row a message received (app/feeds/inbox.py).
inbox = Table(
    "inbox",
    metadata,
    Column("id", _PK, primary_key=True, autoincrement=False),
    Column("tenant", SmallInteger, nullable=False),
    Column("feed", Text, nullable=False),
    Column("source", Text, nullable=False),  # the sender, as the feed names it
    Column("peer", Text, nullable=False),
    Column("kind", Text, nullable=False),  # MSH-9, SOP class, mapping
    Column("control_id", Text, nullable=False),
    Column("received", BigInteger, nullable=False),  # microseconds since 1970
    # 0 received, 1 applied, 2 duplicate, 3 failed, 4 discarded, 5 to be replayed
    Column("state", SmallInteger, nullable=False),
    Column("dkey", LargeBinary, nullable=False),  # what makes a message the same message
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the bytes received
    Column("repeats", BigInteger, nullable=False),  # the entry it is a duplicate of, else 0
    Column("raw", LargeBinary, nullable=False),  # Zstandard; empty once its retention is over
    Column("answers", LargeBinary, nullable=False),
    Column("issues", LargeBinary, nullable=False),
    Column("touched", LargeBinary, nullable=False),
    Index("inbox_key", "dkey", "id"),
    Index("inbox_state", "state", "id"),
)

# When a feed's sender said what elements of a resource hold: older messages never overwrite newer
# ones. Rows of what was told before `res.told` came are still true where that is empty.
told = Table(
    "told",
    metadata,
    Column("tenant", SmallInteger, primary_key=True, autoincrement=False),
    Column("type", SmallInteger, primary_key=True, autoincrement=False),
    Column("id", _BYTEWISE, primary_key=True),
    Column("at", BigInteger, nullable=False),  # the newest message, microseconds since 1970
    Column("elements", Text, nullable=False),  # JSON: element -> time, where it is not `at`; or ''
    sqlite_with_rowid=False,
)

# One row a version of a code system whose concepts are in `cs_concept` (app/terminology/stored).
# state: 0 being loaded, 1 ready, 2 replaced and about to go.
cs = Table(
    "cs",
    metadata,
    Column("v", _PK, primary_key=True, autoincrement=False),
    Column("tenant", SmallInteger, nullable=False),
    Column("url", _BYTEWISE, nullable=False),
    Column("version", _BYTEWISE, nullable=False),  # '' for none
    Column("state", SmallInteger, nullable=False),
    Column("touched", BigInteger, nullable=False),  # the last write, microseconds since 1970
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of what was loaded
    Column("header", LargeBinary, nullable=False),  # CodeSystem without concepts, JSON
    Column("facts", LargeBinary, nullable=False),  # what reading the other tables takes, JSON
    Index("cs_url", "tenant", "url", "version"),
)

# id: v << 32 | n, where n counts the concepts of a version depth first. The concepts below one are
# n + 1 ... last, and those of `spans` when further parents lead there.
cs_concept = Table(
    "cs_concept",
    metadata,
    Column("id", _PK, primary_key=True, autoincrement=False),
    Column("v", _PK, nullable=False),
    Column("key", _BYTEWISE, nullable=False),  # the code; case-folded where case does not count
    Column("code", _BYTEWISE, nullable=False),  # as spelled; '' when it is the key
    Column("last", Integer, nullable=False),
    Column("spans", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("cs_key", "v", "key", unique=True),
)

# Sets of concepts: p (v << 16 | number of a property, of the words, of the reference sets ...) and
# a value name a set; `bits` holds the part of it whose n is in the block of 65,536.
cs_set = Table(
    "cs_set",
    metadata,
    Column("p", BigInteger, primary_key=True),
    Column("value", _BYTEWISE, primary_key=True),
    Column("block", Integer, primary_key=True, autoincrement=False),
    Column("bits", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Closure tables of clients ($closure): a row with no target is a code that a client told of, one
# with a target says that it stands above the code. n: the version of the table that brought it.
closure = Table(
    "closure",
    metadata,
    Column("tenant", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", _BYTEWISE, primary_key=True),
    Column("system", _BYTEWISE, primary_key=True),  # '' in the row that says the table exists
    Column("code", _BYTEWISE, primary_key=True),
    Column("target", _BYTEWISE, primary_key=True),
    Column("n", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# Codes that were to be translated and that no concept map knows.
unmapped = Table(
    "unmapped",
    metadata,
    Column("tenant", SmallInteger, primary_key=True, autoincrement=False),
    Column("system", _BYTEWISE, primary_key=True),
    Column("code", _BYTEWISE, primary_key=True),
    Column("target", _BYTEWISE, primary_key=True),  # the system it was to be in; '' for any
    Column("met", BigInteger, nullable=False),  # first, microseconds since 1970
    sqlite_with_rowid=False,
)
