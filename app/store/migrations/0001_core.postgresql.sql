-- The first schema: resources, history, search index, identifier keys, change log.

CREATE TABLE code (
    p BIGINT NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    system TEXT COLLATE "C" NOT NULL,
    k BIGINT NOT NULL,
    PRIMARY KEY (p, code, system)
);

CREATE INDEX code_system ON code (p, system);

CREATE TABLE dt (
    pk BIGINT NOT NULL,
    p BIGINT NOT NULL,
    lo BIGINT NOT NULL,
    hi BIGINT NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (pk, p, lo, hi)
);

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
    body BYTEA NOT NULL,
    PRIMARY KEY (pk, vid)
);

CREATE TABLE ident (
    k BIGINT NOT NULL,
    pk BIGINT NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (k, pk)
);

CREATE TABLE ix (
    k BIGINT NOT NULL,
    d BIGINT NOT NULL,
    pk BIGINT NOT NULL,
    s BIGINT NOT NULL,
    CONSTRAINT ix_pkey PRIMARY KEY (k, d, pk) INCLUDE (s)
);

CREATE TABLE log (
    seq BIGINT NOT NULL,
    tenant SMALLINT NOT NULL,
    s BIGINT NOT NULL,
    type SMALLINT NOT NULL,
    pk BIGINT NOT NULL,
    vid INTEGER NOT NULL,
    method SMALLINT NOT NULL,
    lu BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    tx BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (seq)
);

CREATE INDEX log_lu ON log (tenant, type, lu, seq);

CREATE TABLE qty (
    pk BIGINT NOT NULL,
    p BIGINT NOT NULL,
    u BIGINT NOT NULL,
    lo DOUBLE PRECISION NOT NULL,
    hi DOUBLE PRECISION NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (pk, p, u, lo, hi)
);

CREATE INDEX qty_v ON qty (p, u, lo, hi, pk);

CREATE TABLE res (
    pk BIGINT NOT NULL,
    tenant SMALLINT NOT NULL,
    s BIGINT NOT NULL,
    type SMALLINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    method SMALLINT NOT NULL,
    vid INTEGER NOT NULL,
    lu BIGINT NOT NULL,
    d BIGINT NOT NULL,
    have BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (pk)
);

CREATE UNIQUE INDEX res_id ON res (tenant, type, id);

CREATE TABLE seal (
    seq BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    PRIMARY KEY (seq)
);

CREATE TABLE str (
    pk BIGINT NOT NULL,
    p BIGINT NOT NULL,
    v TEXT COLLATE "C" NOT NULL,
    s BIGINT NOT NULL,
    PRIMARY KEY (pk, p, v)
);

CREATE INDEX str_v ON str (p, v, pk);

CREATE TABLE txt (
    p BIGINT NOT NULL,
    v TEXT COLLATE "C" NOT NULL,
    k BIGINT NOT NULL,
    PRIMARY KEY (p, v, k)
);

CREATE TABLE unit (
    p BIGINT NOT NULL,
    u BIGINT NOT NULL,
    system TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (p, u)
);

CREATE SEQUENCE res_pk INCREMENT BY 1000;

CREATE SEQUENCE log_seq OWNED BY log.seq;

ALTER TABLE log ALTER COLUMN seq SET DEFAULT nextval('log_seq');

ALTER TABLE log ALTER COLUMN tx SET DEFAULT pg_current_xact_id()::text::bigint;

ALTER TABLE ix SET (autovacuum_vacuum_insert_scale_factor = 0.01);
