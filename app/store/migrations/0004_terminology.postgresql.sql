-- Code systems with more concepts than a resource should hold.

CREATE TABLE cs (
    v BIGINT NOT NULL,
    tenant SMALLINT NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    state SMALLINT NOT NULL,
    touched BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    header BYTEA NOT NULL,
    facts BYTEA NOT NULL,
    PRIMARY KEY (v)
);

CREATE INDEX cs_url ON cs (tenant, url, version);

CREATE TABLE cs_concept (
    id BIGINT NOT NULL,
    v BIGINT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    last INTEGER NOT NULL,
    spans BYTEA NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (id)
);

CREATE UNIQUE INDEX cs_key ON cs_concept (v, key);

CREATE TABLE cs_set (
    p BIGINT NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    block INTEGER NOT NULL,
    bits BYTEA NOT NULL,
    PRIMARY KEY (p, value, block)
);
