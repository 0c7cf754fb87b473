-- The tables of PostfixAdmin 3.3 (schema version 1847) for SQLite. NOCASE
-- stands for MySQL's latin1_general_ci: names are compared without regard to
-- case, as in every map query of PostfixAdmin's documentation.

CREATE TABLE IF NOT EXISTS admin (
  username varchar(255) NOT NULL COLLATE NOCASE PRIMARY KEY,
  password varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1,
  superadmin tinyint(1) NOT NULL DEFAULT 0,
  phone varchar(30) NOT NULL DEFAULT '',
  email_other varchar(255) NOT NULL DEFAULT '',
  token varchar(255) NOT NULL DEFAULT '',
  token_validity datetime NOT NULL DEFAULT '2000-01-01 00:00:00'
);

CREATE TABLE IF NOT EXISTS alias (
  address varchar(255) NOT NULL COLLATE NOCASE PRIMARY KEY,
  goto text NOT NULL,
  domain varchar(255) NOT NULL COLLATE NOCASE,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS alias_domain_idx ON alias (domain);

CREATE TABLE IF NOT EXISTS alias_domain (
  alias_domain varchar(255) NOT NULL DEFAULT '' COLLATE NOCASE PRIMARY KEY,
  target_domain varchar(255) NOT NULL DEFAULT '' COLLATE NOCASE,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS alias_domain_target_idx ON alias_domain (target_domain);

CREATE TABLE IF NOT EXISTS config (
  id integer PRIMARY KEY AUTOINCREMENT,
  name varchar(20) NOT NULL DEFAULT '' COLLATE NOCASE UNIQUE,
  value varchar(20) NOT NULL DEFAULT ''
);

CREATE TABLE IF NOT EXISTS domain (
  domain varchar(255) NOT NULL COLLATE NOCASE PRIMARY KEY,
  description varchar(255) NOT NULL,
  aliases int(10) NOT NULL DEFAULT 0,
  mailboxes int(10) NOT NULL DEFAULT 0,
  maxquota bigint(20) NOT NULL DEFAULT 0,
  quota bigint(20) NOT NULL DEFAULT 0,
  transport varchar(255) NOT NULL,
  backupmx tinyint(1) NOT NULL DEFAULT 0,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1,
  password_expiry int(11) DEFAULT 0
);

CREATE TABLE IF NOT EXISTS domain_admins (
  id integer PRIMARY KEY AUTOINCREMENT,
  username varchar(255) NOT NULL COLLATE NOCASE,
  domain varchar(255) NOT NULL COLLATE NOCASE,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS domain_admins_username_idx ON domain_admins (username);

CREATE TABLE IF NOT EXISTS fetchmail (
  id integer PRIMARY KEY AUTOINCREMENT,
  mailbox varchar(255) NOT NULL COLLATE NOCASE,
  src_server varchar(255) NOT NULL,
  src_auth varchar(20) DEFAULT NULL,
  src_user varchar(255) NOT NULL,
  src_password varchar(255) NOT NULL,
  src_folder varchar(255) NOT NULL,
  poll_time int(11) NOT NULL DEFAULT 10,
  fetchall tinyint(1) NOT NULL DEFAULT 0,
  keep tinyint(1) NOT NULL DEFAULT 0,
  protocol varchar(10) DEFAULT NULL,
  usessl tinyint(1) NOT NULL DEFAULT 0,
  extra_options text DEFAULT NULL,
  returned_text text DEFAULT NULL,
  mda varchar(255) NOT NULL,
  date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00',
  sslcertck tinyint(1) NOT NULL DEFAULT 0,
  sslcertpath varchar(255) DEFAULT '',
  sslfingerprint varchar(255) DEFAULT '',
  domain varchar(255) DEFAULT '' COLLATE NOCASE,
  active tinyint(1) NOT NULL DEFAULT 0,
  created timestamp NOT NULL DEFAULT '2000-01-01 00:00:00',
  modified timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  src_port int(11) NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS log (
  id integer PRIMARY KEY AUTOINCREMENT,
  timestamp datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  username varchar(255) NOT NULL,
  domain varchar(255) NOT NULL COLLATE NOCASE,
  action varchar(255) NOT NULL,
  data text NOT NULL
);
CREATE INDEX IF NOT EXISTS log_domain_timestamp_idx ON log (domain, timestamp);

CREATE TABLE IF NOT EXISTS mailbox (
  username varchar(255) NOT NULL COLLATE NOCASE PRIMARY KEY,
  password varchar(255) NOT NULL,
  name varchar(255) NOT NULL,
  maildir varchar(255) NOT NULL,
  quota bigint(20) NOT NULL DEFAULT 0,
  local_part varchar(255) NOT NULL COLLATE NOCASE,
  domain varchar(255) NOT NULL COLLATE NOCASE,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1,
  phone varchar(30) NOT NULL DEFAULT '',
  email_other varchar(255) NOT NULL DEFAULT '',
  token varchar(255) NOT NULL DEFAULT '',
  token_validity datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  password_expiry datetime NOT NULL DEFAULT '2000-01-01 00:00:00'
);
CREATE INDEX IF NOT EXISTS mailbox_domain_idx ON mailbox (domain);

CREATE TABLE IF NOT EXISTS quota (
  username varchar(255) NOT NULL COLLATE NOCASE,
  path varchar(100) NOT NULL,
  current bigint(20) NOT NULL DEFAULT 0,
  PRIMARY KEY (username, path)
);

CREATE TABLE IF NOT EXISTS quota2 (
  username varchar(255) NOT NULL COLLATE NOCASE PRIMARY KEY,
  bytes bigint(20) NOT NULL DEFAULT 0,
  messages int(11) NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS vacation (
  email varchar(255) NOT NULL COLLATE NOCASE PRIMARY KEY,
  subject varchar(255) NOT NULL,
  body text NOT NULL,
  cache text NOT NULL,
  domain varchar(255) NOT NULL COLLATE NOCASE,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1,
  modified timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  activefrom timestamp NOT NULL DEFAULT '2000-01-01 00:00:00',
  activeuntil timestamp NOT NULL DEFAULT '2038-01-18 00:00:00',
  interval_time int(11) NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS vacation_notification (
  on_vacation varchar(255) NOT NULL COLLATE NOCASE REFERENCES vacation (email) ON DELETE CASCADE,
  notified varchar(255) NOT NULL DEFAULT '' COLLATE NOCASE,
  notified_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (on_vacation, notified)
);

-- PostfixAdmin gives rights over every domain by this row.
INSERT INTO domain (domain, description, transport)
  SELECT 'ALL', '', '' WHERE NOT EXISTS (SELECT 1 FROM domain WHERE domain = 'ALL');
INSERT INTO config (name, value)
  SELECT 'version', '1847' WHERE NOT EXISTS (SELECT 1 FROM config WHERE name = 'version');
