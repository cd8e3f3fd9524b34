-- Times are Unix seconds. `key_id` names the key that sealed a row's secret or made its MAC.

-- By which another key of the same name is noticed.
CREATE TABLE keys (
  id TEXT NOT NULL PRIMARY KEY,
  check_value BLOB NOT NULL
) STRICT;

-- Single values: the last version that a refresh token was given, and since when the audit is kept.
CREATE TABLE state (
  name TEXT NOT NULL PRIMARY KEY,
  value ANY NOT NULL
) STRICT;
INSERT INTO state VALUES ('refresh_token_version', 0), ('audit_kept_from', 0.0);

-- Who has ever signed in and is signed in or bound still. Names are for show.
CREATE TABLE accounts (
  tid TEXT NOT NULL,
  oid TEXT NOT NULL,
  username TEXT NOT NULL DEFAULT '',
  name TEXT NOT NULL DEFAULT '',
  signed_in_at REAL,
  PRIMARY KEY (tid, oid)
) STRICT;

CREATE TABLE refresh_tokens (
  tid TEXT NOT NULL,
  oid TEXT NOT NULL,
  client_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  key_id TEXT NOT NULL,
  -- Whose turn it is to use it, where several hubs share the database and it works once.
  leased_by INTEGER NOT NULL DEFAULT 0,
  leased_until REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (tid, oid, client_id),
  FOREIGN KEY (tid, oid) REFERENCES accounts (tid, oid) ON DELETE CASCADE
) STRICT;

CREATE TABLE bindings (
  tid TEXT NOT NULL,
  oid TEXT NOT NULL,
  uid INTEGER NOT NULL UNIQUE,
  user_name TEXT NOT NULL UNIQUE,
  bound_by TEXT NOT NULL,
  bound_at REAL NOT NULL,
  mac BLOB NOT NULL,
  key_id TEXT NOT NULL,
  PRIMARY KEY (tid, oid)
) STRICT;

CREATE TABLE sessions (
  id TEXT NOT NULL PRIMARY KEY,
  cookie_hash BLOB NOT NULL,
  uid INTEGER NOT NULL,
  user_name TEXT NOT NULL,
  launcher TEXT,
  machine TEXT NOT NULL,
  opened_at REAL NOT NULL,
  expires_at REAL NOT NULL,
  last_used REAL NOT NULL,
  mac BLOB NOT NULL,
  key_id TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (uid);
CREATE INDEX sessions_of_launcher ON sessions (launcher) WHERE launcher IS NOT NULL;

-- So that the holder of a session's cookie learns that it has ended, until it would have expired.
CREATE TABLE ended_sessions (
  id TEXT NOT NULL PRIMARY KEY,
  cookie_hash BLOB NOT NULL,
  expires_at REAL NOT NULL
) STRICT;

-- The browser's, on the hub's own pages.
CREATE TABLE web_sessions (
  id TEXT NOT NULL PRIMARY KEY,
  cookie_hash BLOB NOT NULL,
  tid TEXT NOT NULL,
  oid TEXT NOT NULL,
  opened_at REAL NOT NULL,
  expires_at REAL NOT NULL,
  mac BLOB NOT NULL,
  key_id TEXT NOT NULL
) STRICT;
CREATE INDEX web_sessions_of_account ON web_sessions (tid, oid);

-- Sign-ins under way at the tenant.
CREATE TABLE sign_ins (
  state_hash BLOB NOT NULL PRIMARY KEY,
  browser_hash BLOB NOT NULL,
  expires_at REAL NOT NULL,
  sealed BLOB NOT NULL,
  key_id TEXT NOT NULL
) STRICT;
CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_at);

-- Append only. What is older than it is kept for can be deleted, nothing can be changed.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  event TEXT NOT NULL,
  tid TEXT,
  oid TEXT,
  uid INTEGER,
  user_name TEXT,
  session TEXT,
  machine TEXT,
  resource TEXT,
  result TEXT NOT NULL,
  correlation_id TEXT,
  detail TEXT
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit is never changed');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.at >= (SELECT value FROM state WHERE name = 'audit_kept_from')
BEGIN
  SELECT RAISE(ABORT, 'the audit is kept');
END;

-- Who may open sessions for others, by a key of which only the hash is here.
CREATE TABLE launchers (
  name TEXT NOT NULL PRIMARY KEY,
  key_hash BLOB NOT NULL UNIQUE,
  -- The users that it may open sessions for, one a line: uid and name.
  users TEXT NOT NULL,
  -- From where its key counts: a uid of this machine, or a network.
  uid INTEGER,
  network TEXT,
  added_at REAL NOT NULL,
  expires_at REAL NOT NULL,
  mac BLOB NOT NULL,
  key_id TEXT NOT NULL
) STRICT;

-- Users who may pair by a code for a while.
CREATE TABLE permits (
  uid INTEGER NOT NULL PRIMARY KEY,
  user_name TEXT NOT NULL,
  expires_at REAL NOT NULL,
  mac BLOB NOT NULL,
  key_id TEXT NOT NULL
) STRICT;

-- Pairings under way, by the hash of their ticket.
CREATE TABLE pairings (
  ticket_hash BLOB NOT NULL PRIMARY KEY,
  expires_at REAL NOT NULL,
  sealed BLOB NOT NULL,
  key_id TEXT NOT NULL
) STRICT;
