-- Code systems with more concepts than a resource should hold.

CREATE TABLE cs (
    v INTEGER NOT NULL,
    tenant SMALLINT NOT NULL,
    url TEXT NOT NULL,
    version TEXT NOT NULL,
    state SMALLINT NOT NULL,
    touched BIGINT NOT NULL,
    digest BLOB NOT NULL,
    header BLOB NOT NULL,
    facts BLOB NOT NULL,
    PRIMARY KEY (v)
);

CREATE INDEX cs_url ON cs (tenant, url, version);

CREATE TABLE cs_concept (
    id INTEGER NOT NULL,
    v INTEGER NOT NULL,
    key TEXT NOT NULL,
    code TEXT NOT NULL,
    last INTEGER NOT NULL,
    spans BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (id)
);

CREATE UNIQUE INDEX cs_key ON cs_concept (v, key);

CREATE TABLE cs_set (
    p BIGINT NOT NULL,
    value TEXT NOT NULL,
    block INTEGER NOT NULL,
    bits BLOB NOT NULL,
    PRIMARY KEY (p, value, block)
)
 WITHOUT ROWID;
