package cyrus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl/cyrus"
	"sekisho/internal/sqldb"
	"sekisho/internal/sqltest"
)

// TestServers asks real servers: for names of every kind, with a server down
// and back.
func TestServers(t *testing.T) {
	for engine, lines := range map[string]func(*sqltest.Server) string{
		sqldb.MySQL: func(s *sqltest.Server) string {
			return "sql_engine: mysql\nsql_hostnames: 127.0.0.1:1, " + s.Addr
		},
		sqldb.PostgreSQL: func(s *sqltest.Server) string {
			return "sql_engine: pgsql\nsql_hostname: " + s.Addr
		},
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			charset := map[string]string{sqldb.MySQL: " CHARACTER SET latin1"}
			s := sqltest.Start(t, engine)
			s.Exec("CREATE TABLE mailbox (username VARCHAR(255), password VARCHAR(255), active CHAR(1))"+charset[engine],
				"INSERT INTO mailbox VALUES ('plain@example.com', 'plainpass', '1'), ('md5@example.com', '"+md5crypt+"', '1'), ('off@example.com', 'plainpass', '0')")
			text := fmt.Sprintf("auxprop_plugin: sql\n%s\nsql_user: %s\nsql_passwd: %s\nsql_database: %s\nsql_select: SELECT password FROM mailbox WHERE username='%%u@%%r' AND active='1'\n",
				lines(s), sqltest.User, sqltest.Password, sqltest.Database)
			if err := open(t, text+"sql_usessl: yes\n", cyrus.Options{}).Probe(t.Context()); err == nil {
				t.Error("sql_usessl: yes, but a server without TLS was asked")
			}
			c := clock.NewManual(time.Unix(1000, 0))
			b := open(t, text, cyrus.Options{Clock: c})
			if err := b.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			check := func(user, password, want string) {
				t.Helper()
				if got := say(t, b, "PLAIN", b64("\x00"+user+"\x00"+password)); !strings.HasPrefix(got, want) {
					t.Errorf("%s %s: %s, want %s", user, password, got, want)
				}
			}
			const good = "235, "
			check("plain@example.com", "plainpass", good)
			check("md5@example.com", "md5pass", good)
			check("md5@example.com", md5crypt, wrong)
			check("off@example.com", "plainpass", wrong)
			check("' OR ''='@example.com", "plainpass", wrong)
			check("ユーザ@example.com", "plainpass", wrong) // no latin1 column holds it
			s.Stop()
			check("plain@example.com", "plainpass", "454 generic failure, plain@example.com; SASL: auxprop: sql_select: no database server answers: ")
			s.Start()
			c.Advance(time.Minute)
			check("plain@example.com", "plainpass", good)
		})
	}
}
