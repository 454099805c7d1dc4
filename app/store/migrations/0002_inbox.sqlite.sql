CREATE TABLE inbox (
    id INTEGER NOT NULL,
    tenant SMALLINT NOT NULL,
    feed TEXT NOT NULL,
    source TEXT NOT NULL,
    peer TEXT NOT NULL,
    kind TEXT NOT NULL,
    control_id TEXT NOT NULL,
    received BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    dkey BLOB NOT NULL,
    digest BLOB NOT NULL,
    repeats BIGINT NOT NULL,
    raw BLOB NOT NULL,
    answers BLOB NOT NULL,
    issues BLOB NOT NULL,
    touched BLOB NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX inbox_key ON inbox (dkey, id);

CREATE INDEX inbox_state ON inbox (state, id);

CREATE TABLE told (
    tenant SMALLINT NOT NULL,
    type SMALLINT NOT NULL,
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    elements TEXT NOT NULL,
    PRIMARY KEY (tenant, type, id)
)
 WITHOUT ROWID;
