// Package ldap asks LDAP directories as ldap_table(5) describes: one search, and
// more for the values that are themselves names or URLs of entries. It is the
// only importer of the LDAP library.
//
// It reads no configuration file and expands no key: package table does. A
// Directory keeps one connection, on which many requests are under way at once;
// it is safe for concurrent use.
package ldap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sync/singleflight"
)

// Server is how a directory is reached. Equal values share a Directory.
type Server struct {
	// Hosts are server_host's words, separated by blanks: "ldap://host:port",
	// "ldaps://host:port", "ldapi://path with %2F for /", "host:port" or "host";
	// the first that answers is used.
	Hosts   string
	Port    int           // for hosts without one; 0: the scheme's own
	Timeout time.Duration // for a connection, and for each request

	Bind      string // none, simple or sasl
	DN        string // for sasl, the name
	Password  string
	Mechanism string // of sasl: EXTERNAL or DIGEST-MD5

	StartTLS    bool
	RequireCert bool   // refuse certificates that don't prove the server's name
	CAFile      string // PEM; with CADir empty too, the system's are trusted
	CADir       string
	Cert, Key   string // PEM files of a client certificate
}

// Directory is a server with the connection to it.
type Directory struct {
	server Server
	hosts  []host
	warn   func(string)
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	dial   singleflight.Group

	mu   sync.Mutex
	conn *ldap.Conn
}

// New checks a server's settings. It makes no connection. Warn is told what
// fails later, in Postfix's words.
func New(s Server, warn func(string)) (*Directory, error) {
	d := &Directory{server: s, warn: warn}
	for _, word := range strings.Fields(s.Hosts) {
		h, err := parseHost(word, s)
		if err != nil {
			return nil, fmt.Errorf("server_host: %w", err)
		}
		d.hosts = append(d.hosts, h)
	}
	switch {
	case len(d.hosts) == 0:
		return nil, errors.New("server_host names no server")
	case s.Bind == "sasl" && s.Mechanism != "EXTERNAL" && s.Mechanism != "DIGEST-MD5":
		return nil, fmt.Errorf("sasl_mechs = %s: only EXTERNAL and DIGEST-MD5 are supported", s.Mechanism)
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Close ends the connection.
func (d *Directory) Close() error {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	err := d.conn.Close()
	d.conn = nil
	return err
}

// connection returns the one that there is, or a new one.
func (d *Directory) connection() (*ldap.Conn, error) {
	d.mu.Lock()
	c := d.conn
	d.mu.Unlock()
	if c != nil && !c.IsClosing() {
		return c, nil
	}
	v, err, _ := d.dial.Do("", func() (any, error) { return d.connect() })
	if err != nil {
		return nil, err
	}
	return v.(*ldap.Conn), nil
}

// connect tries the hosts in order.
func (d *Directory) connect() (*ldap.Conn, error) {
	d.mu.Lock()
	c := d.conn
	d.mu.Unlock()
	if c != nil && !c.IsClosing() {
		return c, nil // made while this call was on its way
	}
	var last error
	for _, h := range d.hosts {
		c, err := d.open(h)
		if err != nil {
			last = err
			continue
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.ctx.Err() != nil {
			return nil, errors.Join(net.ErrClosed, c.Close())
		}
		d.conn = c
		return c, nil
	}
	return nil, d.unable(last)
}

func (d *Directory) open(h host) (*ldap.Conn, error) {
	n, err := d.reach(h)
	if err != nil {
		return nil, ldap.NewError(ldap.ErrorNetwork, err)
	}
	c := ldap.NewConn(n, h.scheme == "ldaps")
	c.SetTimeout(d.server.Timeout)
	c.Start()
	if d.server.StartTLS {
		err = d.startTLS(c, h)
	}
	if err == nil {
		err = d.bind(c, h)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// tlsError is STARTTLS that failed.
type tlsError struct{ error }

func (e tlsError) Unwrap() error { return e.error }

// unable says why there is no connection; where there is no need to bind, the
// search says it.
func (d *Directory) unable(err error) error {
	var tls tlsError
	dn := d.server.DN
	if dn == "" {
		dn = "empty or implicit"
	}
	switch {
	case errors.As(err, &tls):
		d.warn("dict_ldap_connect: Unable to set STARTTLS: " + numbered(err, ": "))
	case d.server.Bind == "none":
		return err
	default:
		d.warn(fmt.Sprintf("dict_ldap_connect: Unable to bind to server %s with dn %s: %s", d.urls(), dn, numbered(err, " (")))
	}
	return errConnect{err}
}

func (d *Directory) urls() string {
	var all []string
	for _, h := range d.hosts {
		all = append(all, h.url)
	}
	return strings.Join(all, " ")
}

func (d *Directory) startTLS(c *ldap.Conn, h host) error {
	cfg, err := d.tls(h)
	if err != nil {
		return tlsError{err}
	}
	if err := c.StartTLS(cfg); err != nil {
		return tlsError{err}
	}
	return nil
}

func (d *Directory) bind(c *ldap.Conn, h host) error {
	switch {
	case d.server.Bind == "none":
		return nil
	case d.server.Bind == "sasl" && d.server.Mechanism == "EXTERNAL":
		return c.ExternalBind()
	case d.server.Bind == "sasl":
		return c.MD5Bind(h.name, d.server.DN, d.server.Password)
	}
	_, err := c.SimpleBind(&ldap.SimpleBindRequest{Username: d.server.DN, Password: d.server.Password, AllowEmptyPassword: true})
	return err
}

// lose forgets a connection that has failed.
func (d *Directory) lose(c *ldap.Conn) {
	d.mu.Lock()
	if d.conn == c {
		d.conn = nil
	}
	d.mu.Unlock()
	c.Close() // what can be wrong with it has been said
}

// search makes one request; a connection that the server has closed is made
// again once.
func (d *Directory) search(r *ldap.SearchRequest) (*ldap.SearchResult, error) {
	for try := 1; ; try++ {
		c, err := d.connection()
		if err != nil {
			return nil, err
		}
		res, err := c.Search(r)
		switch {
		case err == nil || ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
			return res, err
		case ldap.IsErrorWithCode(err, ldap.ErrorNetwork) && try == 1 && !timedOut(err):
			d.lose(c)
		case ldap.IsErrorWithCode(err, ldap.ErrorNetwork):
			d.lose(c)
			return res, err
		default:
			return res, err
		}
	}
}

// errConnect is a connection that could not be made; that has been logged.
type errConnect struct{ error }

func (e errConnect) Unwrap() error { return e.error }
