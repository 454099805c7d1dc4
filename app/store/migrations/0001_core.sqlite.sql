-- The first schema: resources, history, search index, identifier keys, change log.

CREATE TABLE code (
    p BIGINT NOT NULL,
    code TEXT NOT NULL,
    system TEXT NOT NULL,
    k BIGINT NOT NULL,
    PRIMARY KEY (p, code, system)
)
 WITHOUT ROWID;

CREATE INDEX code_system ON code (p, system);

CREATE TABLE dt (
    pk BIGINT NOT NULL,
    p BIGINT NOT NULL,
    lo BIGINT NOT NULL,
    hi BIGINT NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (pk, p, lo, hi)
)
 WITHOUT ROWID;

CREATE INDEX dt_v ON dt (p, lo, hi, pk);

CREATE TABLE fact (
    name VARCHAR(200) NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE hist (
    pk BIGINT NOT NULL,
    vid INTEGER NOT NULL,
    s BIGINT NOT NULL,
    method SMALLINT NOT NULL,
    lu BIGINT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (pk, vid)
);

CREATE TABLE ident (
    k BIGINT NOT NULL,
    pk BIGINT NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (k, pk)
)
 WITHOUT ROWID;

CREATE TABLE ix (
    k BIGINT NOT NULL,
    d BIGINT NOT NULL,
    pk BIGINT NOT NULL,
    s BIGINT NOT NULL,
    CONSTRAINT ix_pkey PRIMARY KEY (k, d, pk)
)
 WITHOUT ROWID;

CREATE TABLE log (
    seq INTEGER NOT NULL,
    tenant SMALLINT NOT NULL,
    s BIGINT NOT NULL,
    type SMALLINT NOT NULL,
    pk BIGINT NOT NULL,
    vid INTEGER NOT NULL,
    method SMALLINT NOT NULL,
    lu BIGINT NOT NULL,
    digest BLOB NOT NULL,
    tx BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (seq)
);

CREATE INDEX log_lu ON log (tenant, type, lu, seq);

CREATE TABLE qty (
    pk BIGINT NOT NULL,
    p BIGINT NOT NULL,
    u BIGINT NOT NULL,
    lo DOUBLE NOT NULL,
    hi DOUBLE NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (pk, p, u, lo, hi)
)
 WITHOUT ROWID;

CREATE INDEX qty_v ON qty (p, u, lo, hi, pk);

CREATE TABLE res (
    pk INTEGER NOT NULL,
    tenant SMALLINT NOT NULL,
    s BIGINT NOT NULL,
    type SMALLINT NOT NULL,
    id TEXT NOT NULL,
    method SMALLINT NOT NULL,
    vid INTEGER NOT NULL,
    lu BIGINT NOT NULL,
    d BIGINT NOT NULL,
    have BIGINT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (pk)
);

CREATE UNIQUE INDEX res_id ON res (tenant, type, id);

CREATE TABLE seal (
    seq INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (seq)
);

CREATE TABLE str (
    pk BIGINT NOT NULL,
    p BIGINT NOT NULL,
    v TEXT NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (pk, p, v)
)
 WITHOUT ROWID;

CREATE INDEX str_v ON str (p, v, pk);

CREATE TABLE txt (
    p BIGINT NOT NULL,
    v TEXT NOT NULL,
    k BIGINT NOT NULL,
    PRIMARY KEY (p, v, k)
)
 WITHOUT ROWID;

CREATE TABLE unit (
    p BIGINT NOT NULL,
    u BIGINT NOT NULL,
    system TEXT NOT NULL,
    code TEXT NOT NULL,
    unit TEXT NOT NULL,
    PRIMARY KEY (p, u)
)
 WITHOUT ROWID;
