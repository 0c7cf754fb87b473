package cyrus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"sekisho/internal/directory/password"
	"sekisho/internal/sqldb"
)

// passwordProperty is %p: what Cyrus calls the property that it asks for.
const passwordProperty = "userPassword"

// store is auxprop: the stored passwords that sql_select finds.
type store struct {
	query    sqldb.Statement
	database database
	hostname string
	realm    string        // smtpd_sasl_local_domain
	slots    chan struct{} // one for each expensive hash that may run at a time
	key      []byte        // makes up salts for accounts that have none
	// sample is a stored form as the site has them, checked in place of that of
	// an account that does not exist.
	sample atomic.Pointer[password.Password]
}

// database runs a statement and returns the first column of the first row.
type database interface {
	ask(ctx context.Context, st sqldb.Statement, values []string) (value string, found bool, err error)
	close() error
}

// openStore prepares what the file says about auxprop.
func openStore(f *File, o Options) (*store, error) {
	for _, p := range words(strings.ToLower(f.Get("auxprop_plugin"))) {
		switch p {
		case "sql":
		case "sasldb":
			return nil, f.fail("auxprop_plugin", "sasldb: Sekisho does not read sasldb2, a Berkeley DB file; list its users with sasldblistusers2, make their accounts with \"sekisho mailbox add\" and set smtpd_sasl_type = sekisho, or put them into a SQL database for auxprop_plugin: sql")
		default:
			return nil, f.fail("auxprop_plugin", "%s is unknown here: there is sql", p)
		}
	}
	if f.Get("sql_select") == "" {
		if f.Get("auxprop_plugin") == "" {
			return nil, f.fail("auxprop_plugin", "it is not set, which means sasldb2, a Berkeley DB file that Sekisho does not read; set \"auxprop_plugin: sql\" with sql_engine, sql_database and sql_select, or smtpd_sasl_type = sekisho")
		}
		return nil, f.fail("sql_select", "it is not set: it tells how to find a user's password, as in SELECT password FROM mailbox WHERE username = '%%u@%%r'")
	}
	engine, err := engineOf(f)
	if err != nil {
		return nil, err
	}
	s := &store{hostname: o.Hostname, realm: o.LocalDomain, slots: make(chan struct{}, runtime.GOMAXPROCS(0)), key: make([]byte, sha256.Size)}
	if s.query, err = sqldb.Compile(engine, f.Get("sql_select"), "urpv"); err != nil {
		return nil, f.fail("sql_select", "%w", err)
	}
	if s.database, err = openDatabase(engine, f, o); err != nil {
		return nil, err
	}
	return s, s.makeSample()
}

// makeSample hashes a password that nobody has at the cost of new ones.
func (s *store) makeSample() error {
	rand.Read(s.key)
	text, err := password.Hash(password.DefaultScheme, hex.EncodeToString(s.key))
	if err != nil {
		return err
	}
	p, err := password.Parse(text)
	s.sample.Store(&p)
	return err
}

// lookup returns what is stored for a canonical name. What is behind its first
// "@" is the realm; without one that is smtpd_sasl_local_domain or else the
// server's name.
func (s *store) lookup(ctx context.Context, user string) (stored string, found bool, err error) {
	if !utf8.ValidString(user) || strings.Contains(user, "\x00") {
		return "", false, nil // no column could hold it
	}
	name, realm, has := strings.Cut(user, "@")
	switch {
	case has:
	case s.realm != "":
		realm = s.realm
	default:
		realm = s.hostname
	}
	values := s.query.Values(func(letter byte) string {
		switch letter {
		case 'u':
			return name
		case 'r':
			return realm
		case 'p':
			return passwordProperty
		}
		return "" // %v is for statements that write
	})
	return s.database.ask(ctx, s.query, values)
}

// password returns the stored form for a canonical name. When there is none, or
// one that nothing can be checked against, which damage then tells, it is
// another that takes as long to check as others do.
func (s *store) password(ctx context.Context, user string) (p password.Password, found bool, damage string, err error) {
	text, found, err := s.lookup(ctx, user)
	if err != nil {
		return password.Password{}, false, "", fmt.Errorf("sql_select: %w", err)
	}
	if !found {
		return *s.sample.Load(), false, "", nil
	}
	if p, err = password.Parse(text); err != nil {
		return *s.sample.Load(), false, user + ": " + err.Error(), nil
	}
	s.sample.Store(&p)
	return p, true, "", nil
}

// check decides a login by password. An unknown user costs the same time.
func (s *store) check(ctx context.Context, user, plaintext, _ string) (ok bool, note string, err error) {
	p, found, damage, err := s.password(ctx, user)
	if err != nil {
		return false, "", err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return false, "", ctx.Err()
	}
	match, err := p.Verify(plaintext, user)
	if found && err != nil {
		damage = user + ": " + err.Error()
	}
	return match && found, damage, nil
}

// probe looks for a name that need not exist.
func (s *store) probe(ctx context.Context) error {
	_, _, err := s.lookup(ctx, "probe")
	return err
}

func (s *store) close() error { return s.database.close() }
