package sqldb

import (
	"cmp"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Settings say how to reach a database. Equal settings may share one Servers.
type Settings struct {
	Engine   string // MySQL or PostgreSQL
	Hosts    string // separated by spaces, as in the file
	User     string
	Password string
	Database string
	Charset  string // of the connection: charset (mysql_table), encoding (pgsql_table)
	Socket   string // what "localhost" means to MySQL's client
	Port     string // of hosts that name none
	TLS      TLS
	Idle     time.Duration // a connection unused for so long is closed
	Retry    time.Duration // a host that failed rests for so long
}

// minute is the default of idle_interval and retry_interval.
const minute = time.Minute

// Read takes the settings from the parameters of a table's file; get returns
// "" for one that is not set. MySQL's option files fill in what it lacks.
func Read(engine string, get func(name string) string) (Settings, error) {
	s := Settings{
		Engine: engine, User: get("user"), Password: get("password"), Database: get("dbname"),
		Hosts: strings.Join(strings.FieldsFunc(get("hosts"), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }), " "),
	}
	var errs [3]error
	s.Idle, errs[0] = interval(get, "idle_interval")
	s.Retry, errs[1] = interval(get, "retry_interval")
	switch engine {
	case MySQL:
		s.Charset = get("charset")
		s.TLS, errs[2] = readTLS(get)
		if err := errors.Join(errs[:]...); err != nil {
			return s, err
		}
		options, err := readOptionFiles(get("option_file"), get("option_group"))
		if err != nil {
			return s, err
		}
		s.fill(options)
	case PostgreSQL:
		s.Charset = get("encoding")
	default:
		return s, fmt.Errorf("%q is no database engine (%s, %s)", engine, MySQL, PostgreSQL)
	}
	s.Hosts = cmp.Or(s.Hosts, "localhost")
	return s, errors.Join(errs[:]...)
}

// interval reads a time with an optional unit, seconds without.
func interval(get func(string) string, name string) (time.Duration, error) {
	v := get(name)
	if v == "" {
		return minute, nil
	}
	if !strings.ContainsAny(v, "smhdw") {
		v += "s"
	}
	unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[v[len(v)-1]]
	n, err := strconv.ParseUint(v[:len(v)-1], 10, 31)
	if err != nil || unit == 0 || n == 0 {
		return 0, fmt.Errorf("%s = %s is no time (a number above 0, with s, m, h, d or w behind it)", name, get(name))
	}
	return time.Duration(n) * unit, nil
}

// fill takes from MySQL's option files what the table's file leaves open.
func (s *Settings) fill(options map[string]string) {
	s.Hosts = cmp.Or(s.Hosts, options["host"])
	s.User = cmp.Or(s.User, options["user"])
	s.Password = cmp.Or(s.Password, options["password"])
	s.Database = cmp.Or(s.Database, options["database"])
	s.Socket, s.Port = options["socket"], options["port"]
	s.Charset = cmp.Or(s.Charset, options["default-character-set"])
	if s.TLS == (TLS{}) {
		verify := options["ssl-verify-server-cert"]
		s.TLS = TLS{
			CertFile: options["ssl-cert"], KeyFile: options["ssl-key"], CAFile: options["ssl-ca"], CAPath: options["ssl-capath"],
			Verify: verify == "on" || verify == "1" || verify == "true" || verify == "yes",
		}
	}
}

// target is how to connect to one host.
type target struct {
	driver.Connector
	unix bool
}

func (s *Settings) target(host string) (target, error) {
	if s.Engine == PostgreSQL {
		return s.pgsqlTarget(host)
	}
	return s.mysqlTarget(host)
}

// mysqlSockets are where MySQL's client looks for the server of this machine.
var mysqlSockets = []string{"/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}

func (s *Settings) mysqlTarget(host string) (target, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = s.User, s.Password, s.Database
	c.Timeout, c.Logger, c.ClientFoundRows = connectTimeout, &mysql.NopLogger{}, true
	if err := c.Apply(mysql.Charset(cmp.Or(s.Charset, "utf8mb4"), "")); err != nil {
		return target{}, err
	}
	path, unix := strings.CutPrefix(host, "unix:")
	name, port, err := splitHost(strings.TrimPrefix(host, "inet:"), cmp.Or(s.Port, "3306"))
	switch {
	case unix:
		c.Net, c.Addr = "unix", path
	case err != nil:
		return target{}, err
	case strings.EqualFold(name, "localhost"):
		c.Net, c.Addr, unix = "unix", s.localSocket(), true
	default:
		c.Net, c.Addr = "tcp", net.JoinHostPort(name, port)
	}
	if c.TLS, err = s.TLS.config(name); err != nil {
		return target{}, err
	}
	connector, err := mysql.NewConnector(c)
	return target{connector, unix}, err
}

// localSocket is the socket of "localhost".
func (s *Settings) localSocket() string {
	if s.Socket != "" {
		return s.Socket
	}
	for _, path := range mysqlSockets {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return mysqlSockets[0]
}

// splitHost cuts "name:port", "[address]:port", "name" or an address.
func splitHost(s, port string) (string, string, error) {
	if strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "[") || !strings.Contains(s, ":") {
		return s, port, nil
	}
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return s[1 : len(s)-1], port, nil
	}
	name, port, err := net.SplitHostPort(s)
	if err != nil || name == "" {
		return "", "", fmt.Errorf("%q is no host:port", s)
	}
	return name, port, nil
}

func (s *Settings) pgsqlTarget(host string) (target, error) {
	uri := strings.HasPrefix(host, "postgresql:") || strings.HasPrefix(host, "postgres:")
	c, err := pgx.ParseConfig(s.pgsqlString(host, uri))
	if err != nil {
		return target{}, err
	}
	if uri && !strings.Contains(host, "@") && !strings.Contains(host, "user=") && s.User != "" {
		c.User = s.User
	}
	c.Password = cmp.Or(c.Password, s.Password)
	c.Database = cmp.Or(c.Database, s.Database)
	c.ConnectTimeout = connectTimeout
	if s.Charset != "" {
		c.RuntimeParams["client_encoding"] = s.Charset
	}
	return target{stdlib.GetConnector(*c), strings.HasPrefix(c.Host, "/")}, nil
}

// pgsqlString is the connection string for a host; "inet:" and "unix:" in front
// mean nothing, a name that begins with a slash is a socket's folder.
func (s *Settings) pgsqlString(host string, uri bool) string {
	if uri {
		return host
	}
	host = strings.TrimPrefix(strings.TrimPrefix(host, "unix:"), "inet:")
	port := ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && (strings.Count(host, ":") == 1 || host[i-1] == ']') {
		host, port = host[:i], host[i+1:]
	}
	var b strings.Builder
	for _, kv := range [][2]string{
		{"host", strings.Trim(host, "[]")}, {"port", port}, {"user", s.User}, {"password", s.Password}, {"dbname", s.Database},
	} {
		if kv[1] != "" {
			fmt.Fprintf(&b, "%s='%s' ", kv[0], strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(kv[1]))
		}
	}
	return b.String()
}
