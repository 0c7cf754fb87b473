package sqldb_test

import (
	"slices"
	"strings"
	"testing"

	"sekisho/internal/sqldb"
)

func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		engine, query, sql string
		values             []string
	}{
		{sqldb.SQLite, `SELECT p FROM m WHERE u='%u@%r' AND a='1'`, `SELECT p FROM m WHERE u=? AND a='1'`, []string{"x'y@dom"}},
		{sqldb.PostgreSQL, `SELECT p FROM m WHERE u = '%u' AND d = E'\\%r'`, `SELECT p FROM m WHERE u = $1 AND d = $2`, []string{"x'y", `\dom`}},
		{sqldb.MySQL, `SELECT p FROM m WHERE u = "%u" AND d = N'it\'s %r'`, `SELECT p FROM m WHERE u = ? AND d = ?`, []string{"x'y", "it's dom"}},
		{sqldb.SQLite, `SELECT p FROM m WHERE u = %u`, `SELECT p FROM m WHERE u = ?`, []string{"x'y"}},
		{sqldb.SQLite, `SELECT '100%%', '''%u%%''', "n"`, `SELECT '100%', ?, "n"`, []string{"'x'y%'"}},
		{sqldb.PostgreSQL, `SELECT "a" FROM b WHERE c = E'\n'`, `SELECT "a" FROM b WHERE c = E'\n'`, []string{}},
	} {
		st, err := sqldb.Compile(tt.engine, tt.query, "ur")
		if err != nil {
			t.Errorf("%s: %v", tt.query, err)
			continue
		}
		got := st.Values(func(c byte) string { return map[byte]string{'u': "x'y", 'r': "dom"}[c] })
		if st.SQL != tt.sql || !slices.Equal(got, tt.values) {
			t.Errorf("%s: %s with %q, want %s with %q", tt.query, st.SQL, got, tt.sql, tt.values)
		}
	}
	st, err := sqldb.Compile(sqldb.PostgreSQL, "SELECT '%u'", "u")
	if want := "SELECT CAST($1 AS text)"; err != nil || st.Cast != want {
		t.Errorf("%q, %v; want %q", st.Cast, err, want)
	}
}

func TestCompileRefuses(t *testing.T) {
	for query, why := range map[string]string{
		"SELECT '%u":           "open quote",
		"SELECT '%x'":          "bad % escape",
		"SELECT '%'":           "bad % escape",
		"SELECT p FROM m_%u":   "part of a name",
		"SELECT `%u`":          "part of a name",
		"SELECT p WHERE x'%u'": "follow a word",
		"SELECT %":             "bad % escape",
	} {
		if _, err := sqldb.Compile(sqldb.MySQL, query, "u"); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", query, err, why)
		}
	}
}
