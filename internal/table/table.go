// Package table opens and searches Postfix's lookup tables (DATABASE_README):
// "type:name" or "type:{inline}". Indexed types (hash, btree, lmdb, cdb, dbm,
// sdbm) are read from the text they are made from, and read again when it
// changes: no postmap step is needed.
//
// It does not know what a table is for: which keys to try in which order is
// the caller's business, and Partial tells which kinds get partial keys.
package table

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sekisho/internal/clock"
	"sekisho/internal/sqldb"
	"sekisho/internal/table/ldap"
	"sekisho/internal/table/socket"
)

// Table is one lookup table. Implementations are safe for concurrent use. An
// error means that nobody knows whether the key is there.
type Table interface {
	Lookup(key string) (value string, found bool, err error)
	Close() error
}

// Options are what tables need of their surroundings.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Dir is where relative file names begin; empty means the working
	// directory.
	Dir string
	// Tolerant makes rules that make no sense warnings in the log, as
	// postmap(1) does; else a table that has one cannot be opened.
	Tolerant bool
	// Duplicates lets a texthash table have a key twice: postmap(1) warns of it
	// and takes the first, to the daemons the table is unavailable.
	Duplicates bool
	// Aliases are the tables ("type:name") whose source is an alias file,
	// aliases(5): alias_maps and alias_database.
	Aliases []string
	// DefaultType stands before names without a type (default_database_type).
	DefaultType string
	// Env answers environ: tables.
	Env func(name string) (string, bool)
	// Param returns a main.cf parameter, for tables configured there.
	Param func(name string) string
	// SocketDir is where relative names of sockets begin (queue_directory);
	// empty means the working directory.
	SocketDir string
}

// Set holds open tables by their specification, each opened once. It is safe
// for concurrent use.
type Set struct {
	o         Options
	mu        sync.RWMutex
	tables    map[string]Table
	databases map[sqldb.Settings]*sqldb.Servers
	pools     map[socket.Server]*socket.Pool
	// directories are those of LDAP.
	directories map[ldap.Server]*ldap.Directory
}

// NewSet returns an empty set.
func NewSet(o Options) *Set {
	s := &Set{o: o}
	s.clear()
	return s
}

func (s *Set) clear() {
	s.tables, s.databases = make(map[string]Table), make(map[sqldb.Settings]*sqldb.Servers)
	s.pools, s.directories = make(map[socket.Server]*socket.Pool), make(map[ldap.Server]*ldap.Directory)
}

// Open opens a table if it is not open yet. The error is an *OpenError, or
// several joined, one for each line that makes no sense.
func (s *Set) Open(spec string) error {
	s.mu.RLock()
	t := s.tables[spec]
	s.mu.RUnlock()
	if t != nil {
		return nil
	}
	t, err := s.open(spec, 0)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables[spec] != nil {
		return t.Close() // another call was faster
	}
	s.tables[spec] = t
	return nil
}

// Lookup searches the table of that specification, opening it if need be.
func (s *Set) Lookup(spec, key string) (string, bool, error) {
	s.mu.RLock()
	t := s.tables[spec]
	s.mu.RUnlock()
	if t == nil {
		if err := s.Open(spec); err != nil {
			return "", false, err
		}
		s.mu.RLock()
		t = s.tables[spec]
		s.mu.RUnlock()
	}
	return t.Lookup(key)
}

// All returns the entries of a table that has a list of them: the indexed ones
// in the order of their source, inline in order of key.
func (s *Set) All(spec string) (iter.Seq2[string, string], error) {
	t, err := s.open(spec, 0)
	if err != nil {
		return nil, err
	}
	if r, ok := t.(*reloading); ok {
		if text, ok := r.current.Load().table.(*Text); ok {
			return text.All(), nil
		}
	}
	if in, ok := t.(inline); ok {
		return in.All(), nil
	}
	return nil, errors.Join(fmt.Errorf("table %s: sequence operation is not supported", spec), t.Close())
}

// Close closes all tables.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, t := range s.tables {
		errs = append(errs, t.Close())
	}
	for _, d := range s.databases {
		errs = append(errs, d.Close())
	}
	for _, p := range s.pools {
		errs = append(errs, p.Close())
	}
	for _, d := range s.directories {
		errs = append(errs, d.Close())
	}
	s.clear()
	return errors.Join(errs...)
}

// maxDepth bounds tables inside tables.
const maxDepth = 20

// Split cuts a specification into type and name; "proxy:" in front means the
// same table.
func Split(spec, defaultType string) (typ, name string) {
	for {
		t, n, ok := strings.Cut(spec, ":")
		switch {
		case !ok:
			return defaultType, spec
		case t != "proxy":
			return t, n
		}
		spec = n
	}
}

// OpenError says why a table cannot be opened. What is wrong with a line of a
// table's file is a *config.Error within, with the place.
type OpenError struct {
	Spec string
	Err  error
}

// Error returns "table SPEC: ...".
func (e *OpenError) Error() string { return "table " + e.Spec + ": " + e.Err.Error() }

// Unwrap returns the error without the table's name.
func (e *OpenError) Unwrap() error { return e.Err }

// UnknownTypeError is a table type that does not exist here.
type UnknownTypeError string

// Error names the type, and those that there are.
func (e UnknownTypeError) Error() string {
	return "unsupported dictionary type: " + string(e) + " (this version knows " + strings.Join(Types(), " ") + ")"
}

func (s *Set) open(spec string, depth int) (Table, error) {
	if depth > maxDepth {
		return nil, &OpenError{spec, errors.New("tables inside tables are nested too deeply")}
	}
	typ, name := Split(spec, s.o.DefaultType)
	if name == "" {
		return nil, &OpenError{spec, fmt.Errorf("open dictionary: expecting \"type:name\" form instead of %q", spec)}
	}
	t, err := s.openType(typ, name, depth)
	if err == nil {
		return t, nil
	}
	if depth > 0 {
		return nil, err
	}
	return nil, eachLine(spec, err)
}

// eachLine makes an OpenError of each of several errors.
func eachLine(spec string, err error) error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return &OpenError{spec, err}
	}
	var errs []error
	for _, e := range several.Unwrap() {
		errs = append(errs, eachLine(spec, e))
	}
	return errors.Join(errs...)
}

func (s *Set) openType(typ, name string, depth int) (Table, error) {
	switch typ {
	case "hash", "btree", "lmdb", "cdb", "dbm", "sdbm":
		return openText(s.path(name), slices.Contains(s.o.Aliases, typ+":"+name), s.o)
	case "texthash":
		return openTextHash(s.path(name), s.o)
	case "regexp", "pcre", "cidr":
		return openPattern(typ, name, s.path(name), s.o)
	case "inline":
		return openInline(name)
	case "static":
		return openStatic(name)
	case "fail":
		return failing(name), nil
	case "environ":
		return environ{s.o.Env}, nil
	case "randmap":
		return openRandom(name)
	case "unionmap", "pipemap":
		return s.openMembers(typ, name, depth)
	case "unix":
		return openUnix(name)
	case "nis":
		return openNIS(s.o)
	case "sqlite":
		return s.openSQLite(name, depth)
	case sqldb.MySQL, sqldb.PostgreSQL:
		return s.openServer(typ, name, depth)
	case "ldap":
		return s.openLDAP(name, depth)
	case "tcp":
		return s.openTCP(name)
	case "socketmap":
		return s.openSocketmap(name)
	case "memcache":
		return s.openMemcache(name, depth)
	case "internal":
		return inline{}, nil // Postfix's daemons write to theirs; from outside they are empty
	case "debug":
		return s.openDebug(name, depth)
	}
	return nil, UnknownTypeError(typ)
}

// Types lists the table types that can be opened.
func Types() []string {
	return []string{
		"btree", "cdb", "cidr", "dbm", "debug", "environ", "fail", "hash", "inline", "internal", "ldap", "lmdb", "memcache",
		"mysql", "nis", "pcre", "pgsql", "pipemap", "proxy", "randmap", "regexp", "sdbm", "socketmap", "sqlite", "static",
		"tcp", "texthash", "unionmap", "unix",
	}
}

func (s *Set) path(name string) string {
	if filepath.IsAbs(name) || strings.HasPrefix(name, "{") {
		return name
	}
	return filepath.Join(s.o.Dir, name)
}

// Partial tells whether tables of this kind are asked for partial keys too:
// parent domains, network prefixes, local parts. Tables of patterns and the
// like see only the whole key. It opens nothing.
func Partial(spec string) bool {
	typ, name := Split(spec, "hash")
	switch typ {
	case "debug":
		return Partial(name)
	case "regexp", "pcre", "cidr", "tcp", "socketmap", "randmap", "fail":
		return false
	case "unionmap", "pipemap":
		members, err := groupMembers(name)
		if err != nil {
			return false
		}
		return len(members) == 0 || Partial(members[0]) // the first one speaks for all
	}
	return true
}
