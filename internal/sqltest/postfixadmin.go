package sqltest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sekisho/internal/sqldb"
)

// postfixAdmin is where Debian's package has it.
const postfixAdmin = "/usr/share/postfixadmin"

// PostfixAdmin installs PostfixAdmin for the database and returns the folder
// of its pages. Its own upgrade has made the tables. Its setup password is
// SetupPassword.
func (s *Server) PostfixAdmin() string {
	s.t.Helper()
	php := Need(s.t, "php")
	if _, err := os.Stat(postfixAdmin); err != nil {
		Need(s.t, "postfixadmin") // a name that is never found: skips or fails
	}
	dir := filepath.Join(s.t.TempDir(), "postfixadmin")
	s.run("root", "cp", "-R", "-P", postfixAdmin, dir)
	for _, link := range []string{"templates_c", "config.inc.php", "config.local.php"} {
		if err := os.RemoveAll(filepath.Join(dir, link)); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "templates_c"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.run("root", "cp", "/etc/postfixadmin/config.inc.php", dir)
	s.write(filepath.Join(dir, "dbconfig.inc.php"), s.dbconfig())
	s.write(filepath.Join(dir, "config.local.php"), `<?php
$CONF['configured'] = true;
$CONF['setup_password'] = password_hash('`+SetupPassword+`', PASSWORD_BCRYPT);
$CONF['database_port'] = $dbport;
$CONF['emailcheck_resolve_domain'] = 'NO';
$CONF['encrypt'] = 'php_crypt:SHA512';
`)
	pages := filepath.Join(dir, "public")
	cmd := exec.Command(php, "upgrade.php")
	cmd.Dir = pages
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("PostfixAdmin's upgrade.php: %v\n%s\n%s", err, out, s.output)
	}
	if v := s.Value("SELECT value FROM config WHERE name = 'version'"); v != "1847" {
		s.t.Fatalf("PostfixAdmin's upgrade.php made version %s\n%s", v, out)
	}
	return pages
}

// SetupPassword opens PostfixAdmin's setup.php.
const SetupPassword = "setup-Secret-12"

func (s *Server) dbconfig() string {
	host, port, _ := net.SplitHostPort(s.Addr)
	kind := map[string]string{sqldb.MySQL: "mysqli", sqldb.PostgreSQL: "pgsql"}[s.Engine]
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(Password)
	return fmt.Sprintf("<?php\n$dbuser='%s'; $dbpass='%s'; $basepath=''; $dbname='%s'; $dbserver='%s'; $dbport='%s'; $dbtype='%s';\n",
		User, quoted, Database, host, port, kind)
}

func (s *Server) write(path, content string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
