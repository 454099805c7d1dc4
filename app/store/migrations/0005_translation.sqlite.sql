-- Closure tables of clients, and codes that no concept map knows.

CREATE TABLE closure (
    tenant SMALLINT NOT NULL,
    name TEXT NOT NULL,
    system TEXT NOT NULL,
    code TEXT NOT NULL,
    target TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (tenant, name, system, code, target)
)
 WITHOUT ROWID;

CREATE TABLE unmapped (
    tenant SMALLINT NOT NULL,
    system TEXT NOT NULL,
    code TEXT NOT NULL,
    target TEXT NOT NULL,
    met BIGINT NOT NULL,
    PRIMARY KEY (tenant, system, code, target)
)
 WITHOUT ROWID;
