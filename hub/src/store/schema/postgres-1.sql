-- Times are Unix seconds. `key_id` names the key that sealed a row's secret or made its MAC.

-- By which another key of the same name is noticed.
CREATE TABLE keys (
  id TEXT NOT NULL PRIMARY KEY,
  check_value BYTEA NOT NULL
);

-- Single values: since when the audit is kept.
CREATE TABLE state (
  name TEXT NOT NULL PRIMARY KEY,
  value DOUBLE PRECISION NOT NULL
);
INSERT INTO state VALUES ('audit_kept_from', 0.0);

-- The versions of refresh tokens. Each node takes a block of them, of which it gives out one at a time.
CREATE SEQUENCE refresh_token_versions INCREMENT BY 1000 START WITH 1000;

-- Who has ever signed in and is signed in or bound still. Names are for show.
CREATE TABLE accounts (
  tid TEXT NOT NULL,
  oid TEXT NOT NULL,
  username TEXT NOT NULL DEFAULT '',
  name TEXT NOT NULL DEFAULT '',
  signed_in_at DOUBLE PRECISION,
  PRIMARY KEY (tid, oid)
);

CREATE TABLE refresh_tokens (
  tid TEXT NOT NULL,
  oid TEXT NOT NULL,
  client_id TEXT NOT NULL,
  version BIGINT NOT NULL,
  sealed BYTEA NOT NULL,
  key_id TEXT NOT NULL,
  -- Whose turn it is to use it, where several hubs share the database and it works once.
  leased_by BIGINT NOT NULL DEFAULT 0,
  leased_until DOUBLE PRECISION NOT NULL DEFAULT 0,
  PRIMARY KEY (tid, oid, client_id),
  FOREIGN KEY (tid, oid) REFERENCES accounts (tid, oid) ON DELETE CASCADE
);

CREATE TABLE bindings (
  tid TEXT NOT NULL,
  oid TEXT NOT NULL,
  uid BIGINT NOT NULL UNIQUE,
  user_name TEXT NOT NULL UNIQUE,
  bound_by TEXT NOT NULL,
  bound_at DOUBLE PRECISION NOT NULL,
  mac BYTEA NOT NULL,
  key_id TEXT NOT NULL,
  PRIMARY KEY (tid, oid)
);

CREATE TABLE sessions (
  id TEXT NOT NULL PRIMARY KEY,
  cookie_hash BYTEA NOT NULL,
  uid BIGINT NOT NULL,
  user_name TEXT NOT NULL,
  launcher TEXT,
  machine TEXT NOT NULL,
  opened_at DOUBLE PRECISION NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL,
  last_used DOUBLE PRECISION NOT NULL,
  mac BYTEA NOT NULL,
  key_id TEXT NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (uid);
CREATE INDEX sessions_of_launcher ON sessions (launcher) WHERE launcher IS NOT NULL;

-- So that the holder of a session's cookie learns that it has ended, until it would have expired.
CREATE TABLE ended_sessions (
  id TEXT NOT NULL PRIMARY KEY,
  cookie_hash BYTEA NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL
);

-- The browser's, on the hub's own pages.
CREATE TABLE web_sessions (
  id TEXT NOT NULL PRIMARY KEY,
  cookie_hash BYTEA NOT NULL,
  tid TEXT NOT NULL,
  oid TEXT NOT NULL,
  opened_at DOUBLE PRECISION NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL,
  mac BYTEA NOT NULL,
  key_id TEXT NOT NULL
);
CREATE INDEX web_sessions_of_account ON web_sessions (tid, oid);

-- Sign-ins under way at the tenant.
CREATE TABLE sign_ins (
  state_hash BYTEA NOT NULL PRIMARY KEY,
  browser_hash BYTEA NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL,
  sealed BYTEA NOT NULL,
  key_id TEXT NOT NULL
);
CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_at);

-- Append only. What is older than it is kept for can be deleted, nothing can be changed.
CREATE TABLE audit (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at DOUBLE PRECISION NOT NULL,
  event TEXT NOT NULL,
  tid TEXT,
  oid TEXT,
  uid BIGINT,
  user_name TEXT,
  session TEXT,
  machine TEXT,
  resource TEXT,
  result TEXT NOT NULL,
  correlation_id TEXT,
  detail TEXT
);
CREATE INDEX audit_by_time ON audit (at);
CREATE FUNCTION audit_is_added_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF OLD.at < (SELECT value FROM state WHERE name = 'audit_kept_from') THEN
      RETURN OLD;
    END IF;
    RAISE 'the audit is kept';
  END IF;
  RAISE 'the audit is never changed';
END $$;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_is_added_to();
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_added_to();

-- Who may open sessions for others, by a key of which only the hash is here.
CREATE TABLE launchers (
  name TEXT NOT NULL PRIMARY KEY,
  key_hash BYTEA NOT NULL UNIQUE,
  -- The users that it may open sessions for, one a line: uid and name.
  users TEXT NOT NULL,
  -- From where its key counts: a uid of this machine, or a network.
  uid BIGINT,
  network TEXT,
  added_at DOUBLE PRECISION NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL,
  mac BYTEA NOT NULL,
  key_id TEXT NOT NULL
);

-- Users who may pair by a code for a while.
CREATE TABLE permits (
  uid BIGINT NOT NULL PRIMARY KEY,
  user_name TEXT NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL,
  mac BYTEA NOT NULL,
  key_id TEXT NOT NULL
);

-- Pairings under way, by the hash of their ticket.
CREATE TABLE pairings (
  ticket_hash BYTEA NOT NULL PRIMARY KEY,
  expires_at DOUBLE PRECISION NOT NULL,
  sealed BYTEA NOT NULL,
  key_id TEXT NOT NULL
);
