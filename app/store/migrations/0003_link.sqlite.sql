-- What resources state of other things, and the keys of a resource.

CREATE TABLE link (
    f BIGINT NOT NULL,
    kind INTEGER NOT NULL,
    t BIGINT NOT NULL,
    lo BIGINT NOT NULL,
    hi BIGINT NOT NULL,
    src BIGINT NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (f, kind, t, lo, hi, src)
)
 WITHOUT ROWID;

CREATE INDEX link_t ON link (t, kind, f, lo, hi, src);

CREATE TABLE name (
    k BIGINT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (k)
)
 WITHOUT ROWID;

CREATE INDEX ident_pk ON ident (pk, k);
