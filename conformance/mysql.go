package conformance

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"time"
)

// mysqlSite is the variant of the site whose maps are in MySQL.
const mysqlSite = "mysql"

// Where the database server of that site is, which has no network.
const (
	mysqlData   = "/run/mysql"
	mysqlSocket = "/run/mysqld/mysqld.sock"
)

// startMySQL starts a MariaDB server with the accounts of the site. It ends
// with the worker.
func startMySQL() error {
	const small = " --innodb-use-native-aio=0 --innodb-buffer-pool-size=32M --innodb-log-file-size=8M --tmpdir=" + mysqlData
	for _, command := range []string{
		"mkdir " + mysqlData + " /run/mysqld",
		"chown mysql " + mysqlData + " /run/mysqld",
		"mariadb-install-db --no-defaults --user=mysql --auth-root-authentication-method=normal --skip-test-db --datadir=" + mysqlData + small,
		"start-stop-daemon --start --background --exec /usr/sbin/mariadbd -- --no-defaults --user=mysql --skip-networking --datadir=" +
			mysqlData + " --socket=" + mysqlSocket + small,
	} {
		if err := run(command); err != nil {
			return err
		}
	}
	if err := awaitDatabase(mysqlSocket); err != nil {
		return err
	}
	var all bytes.Buffer
	for _, name := range []string{"site/mysql.sql", "site/accounts.sql"} {
		text, err := site.ReadFile(name)
		if err != nil {
			return err
		}
		all.Write(text)
	}
	client := exec.Command("mariadb", "--no-defaults", "--user=root", "--socket="+mysqlSocket)
	client.Stdin = &all
	if out, err := client.CombinedOutput(); err != nil {
		return fmt.Errorf("filling the database: %w\n%s", err, out)
	}
	return nil
}

// awaitDatabase returns when a server accepts connections at a Unix socket.
func awaitDatabase(path string) error {
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("unix", path); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("no database server: %w", err)
}
