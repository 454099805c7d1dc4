CREATE TABLE inbox (
    id BIGINT NOT NULL,
    tenant SMALLINT NOT NULL,
    feed TEXT NOT NULL,
    source TEXT NOT NULL,
    peer TEXT NOT NULL,
    kind TEXT NOT NULL,
    control_id TEXT NOT NULL,
    received BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    dkey BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    repeats BIGINT NOT NULL,
    raw BYTEA NOT NULL,
    answers BYTEA NOT NULL,
    issues BYTEA NOT NULL,
    touched BYTEA NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX inbox_key ON inbox (dkey, id);

CREATE INDEX inbox_state ON inbox (state, id);

CREATE TABLE told (
    tenant SMALLINT NOT NULL,
    type SMALLINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    elements TEXT NOT NULL,
    PRIMARY KEY (tenant, type, id)
);

CREATE SEQUENCE inbox_id OWNED BY inbox.id;
