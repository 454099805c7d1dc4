-- Closure tables of clients, and codes that no concept map knows.

CREATE TABLE closure (
    tenant SMALLINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    system TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (tenant, name, system, code, target)
);

CREATE TABLE unmapped (
    tenant SMALLINT NOT NULL,
    system TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    met BIGINT NOT NULL,
    PRIMARY KEY (tenant, system, code, target)
);
