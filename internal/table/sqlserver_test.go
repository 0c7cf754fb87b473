package table_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sqldb"
	"sekisho/internal/sqltest"
	"sekisho/internal/table"
)

func TestMySQL(t *testing.T)      { testServer(t, sqldb.MySQL) }
func TestPostgreSQL(t *testing.T) { testServer(t, sqldb.PostgreSQL) }

// sqlSite is a database in PostfixAdmin's tables, with tables over it.
type sqlSite struct {
	*sqltest.Server
	t   *testing.T
	dir string // of the real postmap
	n   int
}

func testServer(t *testing.T, engine string) {
	dir := postmapDir(t)
	s := &sqlSite{Server: sqltest.Start(t, engine), t: t, dir: dir}
	s.PostfixAdmin()
	s.fill()
	t.Run("queries", func(t *testing.T) { s.testQueries(t) })
	t.Run("odd queries", func(t *testing.T) { s.testOddQueries(t) })
	t.Run("main.cf", func(t *testing.T) { s.testMainCF(t) })
	t.Run("poison", func(t *testing.T) { s.testPoison(t) })
	t.Run("altered tables", func(t *testing.T) { s.testAltered(t) })
	t.Run("hosts", func(t *testing.T) { s.testHosts(t) })
}

// fill writes the accounts: a domain with everything, an alias domain, one
// that catches all, a backup MX, one that is off.
func (s *sqlSite) fill() {
	s.t.Helper()
	for _, d := range []string{
		"'example.com','virtual',FALSE,TRUE", "'alias.example','virtual',FALSE,TRUE", "'example.org','virtual',FALSE,TRUE",
		"'backup.example','smtp:[192.0.2.1]',TRUE,TRUE", "'off.example','virtual',FALSE,FALSE", "'relay.example','relay:next',FALSE,TRUE",
	} {
		s.Exec("INSERT INTO domain (domain,transport,backupmx,active,description) VALUES (" + d + ",'')")
	}
	for _, m := range []string{
		"'user@example.com','example.com/user/',1024000,'example.com',TRUE", "'off@example.com','example.com/off/',0,'example.com',FALSE",
		"'o''neil@example.com','example.com/o''neil/',5,'example.com',TRUE",
	} {
		s.Exec("INSERT INTO mailbox (username,maildir,quota,domain,active,password,name,local_part) VALUES (" + m + ",'x','','')")
	}
	for _, a := range []string{
		"'user@example.com','user@example.com','example.com',TRUE", "'team@example.com','user@example.com,ext@remote.test','example.com',TRUE",
		"'off@example.com','off@example.com','example.com',FALSE", "'@example.org','user@example.com','example.org',TRUE",
		"'@example.com','catch@example.com','example.com',TRUE",
	} {
		s.Exec("INSERT INTO alias (address,goto,domain,active) VALUES (" + a + ")")
	}
	s.Exec("INSERT INTO alias_domain (alias_domain,target_domain,active) VALUES ('alias.example','example.com',TRUE)")
}

// spec writes a table's file and returns "proxy:TYPE:FILE".
func (s *sqlSite) spec(lines string) string {
	s.n++
	path := filepath.Join(s.dir, fmt.Sprintf("t%d.cf", s.n))
	writeOld(s.t, path, s.SettingsFor("inet:"+s.Addr)+lines+"\n")
	return s.Engine + ":" + path
}

// concat writes what both databases join texts with.
func (s *sqlSite) concat(parts ...string) string {
	if s.Engine == sqldb.MySQL {
		return "CONCAT(" + strings.Join(parts, ", ") + ")"
	}
	return strings.Join(parts, " || ")
}

var sqlKeys = []string{
	"user@example.com", "USER@Example.Com", "team@example.com", "off@example.com", "none@example.com", "o'neil@example.com",
	"user@alias.example", "none@alias.example", "@alias.example", "@example.com", "@example.org", "x@example.org", "user@backup.example",
	"example.com", "EXAMPLE.ORG", "alias.example", "backup.example", "off.example", "relay.example", "none.example", "user", "@", "a@", "'",
	"x' OR '1'='1", `x\' OR '1'='1`, "user@example.com' -- ", "%", "user%@example.com", "_ser@example.com", "user@example.com ", "*", `\`,
}

// fewKeys are for queries about which the real postmap, which gives up at the
// first error, must be run for each key.
var fewKeys = []string{"user@example.com", "team@example.com", "@example.org", "example.com", "o'neil@example.com", "a@", `x\' OR '1'='1`, "a@b.c.example.org"}

// compare asks both for every key; by way of proxy: it is the same.
func (s *sqlSite) compare(t *testing.T, set *table.Set, lines string, keys []string) {
	t.Helper()
	spec := s.spec(lines)
	answers := askPostfix(t, s.dir, spec, keys...)
	for _, key := range keys {
		if got, want := ask(set, spec, key), answers[key]; got != want {
			t.Errorf("%s: %q: %q, Postfix says %q", lines, key, got, want)
		}
		if got, want := ask(set, "proxy:"+spec, key), answers[key]; got != want {
			t.Errorf("proxy: %s: %q: %q, Postfix says %q", lines, key, got, want)
		}
	}
}

// testQueries are the queries of PostfixAdmin's documentation.
func (s *sqlSite) testQueries(t *testing.T) {
	set := newSet(t, s.dir, clock.System{})
	both := s.concat("'%u'", "'@'", "alias_domain.target_domain")
	for _, q := range []string{
		"SELECT domain FROM domain WHERE domain='%s' AND active = '1'",
		"SELECT domain FROM domain WHERE domain='%s' AND backupmx = '0' AND active = '1'",
		"SELECT domain FROM domain WHERE domain='%s' AND backupmx = '1' AND active = '1'",
		"SELECT domain FROM domain WHERE domain='%s' AND active = '1' AND NOT (transport LIKE 'smtp%%' OR transport LIKE 'relay%%')",
		"SELECT domain FROM domain WHERE domain='%s' AND active = '1' AND (transport LIKE 'smtp%%' OR transport LIKE 'relay%%')",
		"SELECT transport FROM domain WHERE domain='%s' AND active = '1'",
		"SELECT goto FROM alias WHERE address='%s' AND active = '1'",
		"SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and alias.address = " + both +
			" AND alias.active='1' AND alias_domain.active='1'",
		"SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and alias.address = " +
			s.concat("'@'", "alias_domain.target_domain") + " AND alias.active='1' AND alias_domain.active='1'",
		"SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'",
		"SELECT maildir FROM mailbox,alias_domain WHERE alias_domain.alias_domain = '%d' and mailbox.username = " + both +
			" AND mailbox.active='1' AND alias_domain.active='1'",
		"SELECT quota FROM mailbox WHERE username='%s' AND active = '1'",
	} {
		s.compare(t, set, "query = "+q, sqlKeys)
	}
}

// testOddQueries are the language of the tables' files.
func (s *sqlSite) testOddQueries(t *testing.T) {
	set := newSet(t, s.dir, clock.System{})
	lines := []string{
		"query = SELECT '%s'", "query = SELECT '%u-at-%d'", "query = SELECT '%1.%2.%3'", "query = SELECT '%S %U %D'", "query = SELECT '%%s %u'",
		"query = SELECT 'it''s %u'", "query = SELECT 'plain''s 100%%'", "query = SELECT '%u', '%d', NULL, '', 5",
		"query = SELECT goto FROM alias WHERE address LIKE '%%%u%%' AND active = '1' ORDER BY address",
		"query = SELECT active, quota FROM mailbox WHERE username = '%s'",
		"query = SELECT active FROM mailbox WHERE username = '%s' AND created > '2000-01-01'",
		"query = SELECT domain FROM domain WHERE domain LIKE '%%e%%' ORDER BY domain\nexpansion_limit = 6",
		"query = SELECT domain FROM domain WHERE domain LIKE '%%exam%%' ORDER BY domain\nexpansion_limit = 2",
		"query = SELECT goto FROM alias WHERE address = '%s'\nresult_format = <%s>%U",
		"query = SELECT goto FROM alias WHERE address = '%s'\nresult_format = %u%%%d %D",
		"query = SELECT goto FROM alias WHERE address = '%s'\nresult_format = %d %1",
		"query = SELECT '%s'\ndomain = example.com, example.org", "query = SELECT '%s'\ndomain = !example.com, example.com",
		"query = SELECT '%s'\ndomain = inline:{example.com=x} alias.example",
		"table = alias\nselect_field = goto\nwhere_field = address",
		"table = alias\nselect_field = goto\nwhere_field = address\nadditional_conditions = AND active = '1'",
		"query = SELECT goto FROM alias\n  WHERE address = '%s'\n  LIMIT 1",
		"query = SELECT CASE WHEN '%d' = 'example.com' THEN 'home' ELSE 'away' END",
		"query = SELECT goto FROM alias WHERE address = '%s' UNION SELECT '%u'", "query = SELECT COUNT(*) FROM alias WHERE address = '%s'",
		"query = SELECT UPPER('%s')", "query = SELECT CONCAT('%u', '+', '%d')",
	}
	if s.Engine == sqldb.MySQL {
		s.Exec("CREATE PROCEDURE lookup(IN k VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_general_ci) READS SQL DATA SELECT goto FROM alias WHERE address = k",
			"CREATE PROCEDURE two(IN k VARCHAR(255)) BEGIN SELECT 1; SELECT 2; END", "CREATE PROCEDURE mix(IN k VARCHAR(255)) SELECT goto FROM alias WHERE address = k",
			"CREATE PROCEDURE nothing(IN k VARCHAR(255)) SET @k = 1")
		lines = append(lines, "query = CALL lookup('%s')", "query = CALL nothing('%s')\nrequire_result_set = no", "query = CALL nothing('%s')", "query = CALL two('%s')", "query = CALL mix('%s')",
			`query = SELECT 'it\'s %u'`, `query = SELECT 'a\\\\b %u'`, `query = SELECT N'%s'`, `query = SELECT "%s"`, `query = SELECT "it's %u"`,
			`query = SELECT '%s' COLLATE utf8mb4_bin`, "query = SELECT goto FROM alias WHERE `address` = '%s'", `query = SELECT "plain"`,
			`query = SELECT goto FROM alias WHERE address IN ('%s', '%u@example.com') ORDER BY address`)
	} else {
		s.Exec("CREATE FUNCTION lookup(k text) RETURNS text LANGUAGE sql AS 'SELECT goto FROM alias WHERE address = k'")
		lines = append(lines, "select_function = lookup", "query = SELECT lookup('%s')",
			`query = SELECT "goto" FROM alias WHERE "address" = '%s'`, "query = SELECT '%s'::varchar", "query = SELECT 1 FROM mailbox WHERE quota = '5' AND username = '%s'",
			`query = SELECT goto FROM alias WHERE address = ANY (ARRAY['%s', '%u@example.com']) ORDER BY address`)
	}
	for _, l := range lines {
		s.compare(t, set, l, fewKeys)
	}
	if s.Engine == sqldb.PostgreSQL {
		// Postfix doubles the apostrophe of the key, and the backslash before
		// it lets the text end there.
		if got, want := ask(set, s.spec(`query = SELECT E'it\'s %u'`), `x\'y`), `it's x\'y`; got != want {
			t.Errorf("a key in E'...': %q, want %q", got, want)
		}
	}
	for l, want := range map[string]string{
		"query = SELECT goto FROM alias_%d":              "a value cannot be part of a name",
		"query = SELECT 'a%s":                            "open quote",
		"query = SELECT '%x'":                            "bad % escape",
		"query = SELECT 1\nexpansion_limit = some":       "expansion_limit = some",
		"table = alias":                                  "no query",
		"query = SELECT 1\nresult_format = %x":           "result_format: bad % escape",
		"query = SELECT 1\ndomain = /nowhere/domains":    "domain: open /nowhere/domains",
		"query = SELECT 1\nretry_interval = soon":        "retry_interval = soon",
		"query = SELECT 1\ndomain = nosuchtype:x":        "unsupported dictionary type",
		"query = SELECT goto FROM alias WHERE a = x'%s'": "cannot follow a word",
	} {
		if err := set.Open(s.spec(l)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", l, err, want)
		}
	}
}

// testMainCF has the parameters in main.cf.
func (s *sqlSite) testMainCF(t *testing.T) {
	params := map[string]string{"my_query": "SELECT goto FROM alias WHERE address = '%s'"}
	for line := range strings.Lines(s.Settings()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		params["my_"+name] = value
	}
	set := table.NewSet(table.Options{Clock: clock.System{}, Dir: s.dir, Param: func(name string) string { return params[name] }})
	defer set.Close()
	if got := ask(set, s.Engine+":my", "@example.org"); got != "user@example.com" {
		t.Errorf("got %q", got)
	}
}

// testPoison sends keys that the columns cannot hold, and queries that fail:
// each is one answer, and no other lookup notices.
func (s *sqlSite) testPoison(t *testing.T) {
	if s.Engine == sqldb.PostgreSQL {
		s.Admin("CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 OWNER "+sqltest.User, "GRANT ALL ON DATABASE latin TO "+sqltest.User)
	}
	set := newSet(t, s.dir, clock.NewManual(time.Unix(1e9, 0)))
	spec := s.spec("query = SELECT goto FROM alias WHERE address='%s' AND active = '1'")
	broken := s.spec("query = SELECT nothing FROM nowhere WHERE address='%s'")
	latin := s.spec("query = SELECT domain FROM domain WHERE domain='%s'")
	if s.Engine == sqldb.PostgreSQL {
		latin = s.spec("dbname = latin\nquery = SELECT 'x' WHERE '%s' = 'plain'")
	}
	good := func() {
		t.Helper()
		if got := ask(set, spec, "@example.org"); got != "user@example.com" {
			t.Errorf("a later lookup: %q", got)
		}
	}
	for _, key := range []string{
		"ユーザ@example.com", "é@example.com", "\xff\xfe@example.com", "a\x00@example.com", "😀@example.com", strings.Repeat("x", 100_000) + "@example.com",
	} {
		for _, spec := range []string{spec, latin} {
			if got := ask(set, spec, key); got != "-" {
				t.Errorf("%.20q: %q, want not found", key, got)
			}
		}
		good()
	}
	if _, _, err := set.Lookup(broken, "x@example.com"); err == nil || !strings.Contains(err.Error(), "query failed") {
		t.Errorf("a query of a table that isn't there: %v", err)
	}
	good()
	if s.Engine == sqldb.MySQL {
		if got := askOnce(s.dir, spec, "ユーザ@example.com"); got != "!" {
			t.Errorf("the real postmap says %q: it is no longer poisoned by that key", got)
		}
	}
}

// testAltered changes a table under prepared statements.
func (s *sqlSite) testAltered(t *testing.T) {
	s.Exec("CREATE TABLE changing (k varchar(20), v varchar(20))", "INSERT INTO changing VALUES ('a', '1')")
	set := newSet(t, s.dir, clock.System{})
	spec := s.spec("query = SELECT * FROM changing WHERE k = '%s'")
	for _, step := range []struct{ statement, want string }{
		{"SELECT 1", "a,1"},
		{"ALTER TABLE changing ADD COLUMN w int DEFAULT 5", "a,1,5"},
		{"ALTER TABLE changing DROP COLUMN v", "a,5"},
		{"DROP TABLE changing", "!"},
		{"CREATE TABLE changing (k varchar(20))", "-"},
		{"INSERT INTO changing VALUES ('a')", "a"},
	} {
		s.Exec(step.statement)
		if got := ask(set, spec, "a"); got != step.want {
			t.Errorf("after %s: %q, want %q", step.statement, got, step.want)
		}
	}
}

// testHosts has one host that is dead and one that dies.
func (s *sqlSite) testHosts(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	set := newSet(t, s.dir, c)
	path := filepath.Join(s.dir, "hosts.cf")
	writeOld(t, path, s.SettingsFor("inet:127.0.0.1:1, unix:/nowhere/s inet:"+s.Addr)+"query = SELECT goto FROM alias WHERE address='%s'\n")
	spec := s.Engine + ":" + path
	lookups := func(want string) {
		t.Helper()
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				if got := ask(set, spec, "@example.org"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
		wg.Wait()
	}
	lookups("user@example.com")
	s.Stop()
	lookups("!")
	var down *sqldb.DownError
	if _, _, err := set.Lookup(spec, "@example.org"); !errors.As(err, &down) || len(down.Hosts) != 3 {
		t.Errorf("error %v", err)
	}
	s.Start()
	c.Advance(time.Second)
	if got := ask(set, spec, "@example.org"); got != "user@example.com" {
		t.Errorf("after the server came back: %q", got)
	}
	lookups("user@example.com")
}
