package table

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sekisho/internal/table/socket"
)

// shared is a table whose connections are the Set's.
type shared struct{ lookuper }

func (shared) Close() error { return nil }

func (s *Set) warn(text string) { s.o.Log.Warn(text) }

// pool returns the connections to a server; tables of one server share them.
func (s *Set) pool(server socket.Server) *socket.Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[server]
	if p == nil {
		p = socket.NewPool(server, s.o.Clock)
		s.pools[server] = p
	}
	return p
}

// openTCP opens tcp:host:port (tcp_table(5)). It makes no connection.
func (s *Set) openTCP(name string) (Table, error) {
	address, err := socket.HostPort(name)
	if err != nil {
		return nil, err
	}
	return shared{&socket.TCP{Name: name, Pool: s.pool(socket.TCPServer(address)), Warn: s.warn}}, nil
}

// openSocketmap opens socketmap:inet:host:port:name or socketmap:unix:path:name
// (socketmap_table(5)). It makes no connection.
func (s *Set) openSocketmap(name string) (Table, error) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return nil, errors.New("socketmap requires server:socketmap argument")
	}
	network, address, err := socket.Endpoint(name[:i], s.o.SocketDir)
	if err != nil {
		return nil, err
	}
	p := s.pool(socket.SocketmapServer(network, address))
	return shared{&socket.Socketmap{Spec: "socketmap:" + name, Name: name[i+1:], Pool: p, Warn: s.warn}}, nil
}

// memcache is a table in memcached, before another one or alone
// (memcache_table(5)).
type memcache struct {
	cache     *socket.Memcache
	keyFormat string
	domains   domainList
	backup    Table // nil: none
}

// openMemcache reads the table's file, or parameters of main.cf that begin with
// the table's name. It makes no connection to memcached.
func (s *Set) openMemcache(name string, depth int) (Table, error) {
	get, err := s.settings(name)
	if err != nil {
		return nil, err
	}
	n := numbers{get: get}
	t := &memcache{keyFormat: orElse(get("key_format"), "%s"), cache: &socket.Memcache{
		Name: name, Warn: s.warn, TTL: n.read("ttl", 3600, 0), Flags: n.read("flags", 0, 0),
		Pause: time.Duration(n.read("retry_pause", 1, 1)) * time.Second, MaxTries: n.read("max_try", 2, 1),
		MaxLine: n.read("line_size_limit", 1024, 1), MaxData: n.read("data_size_limit", 10240, 1),
	}}
	timeout := time.Duration(n.read("timeout", 2, 0)) * time.Second
	if n.err != nil {
		return nil, n.err
	}
	if get("key_digest") != "" {
		return nil, errors.New("key_digest is not supported (leave it out, with a key_format that gives short keys)")
	}
	if err := checkTemplate(t.keyFormat); err != nil {
		return nil, fmt.Errorf("key_format: %w", err)
	}
	network, address, err := socket.Endpoint(orElse(get("memcache"), "inet:localhost:11211"), s.o.SocketDir)
	if err != nil {
		return nil, fmt.Errorf("memcache: %w", err)
	}
	t.cache.Pool = s.pool(socket.Server{Network: network, Address: address, Timeout: timeout})
	if t.domains, err = s.openDomains(get("domain"), depth); err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	if b := get("backup"); b != "" {
		if t.backup, err = s.open(b, depth+1); err != nil {
			return nil, errors.Join(fmt.Errorf("backup: %w", err), t.domains.Close())
		}
	}
	return t, nil
}

// Lookup asks memcached and then the backup, and tells memcached what the backup
// said. With a backup, memcached's own failures do no harm.
func (t *memcache) Lookup(key string) (string, bool, error) {
	folded := strings.ToLower(key)
	if wants, err := t.domains.wants(folded); key == "" || err != nil || !wants {
		return "", false, err
	}
	name, ok := expandTemplate(t.keyFormat, folded, folded)
	if !ok || strings.ContainsAny(name, blank) || name == "" {
		return "", false, nil
	}
	value, found, err := t.cache.Get(name)
	if t.backup == nil || err == nil && found {
		return value, found, err
	}
	if value, found, err = t.backup.Lookup(key); err == nil && found {
		t.store(name, value)
	}
	return value, found, err
}

// store puts a value into the cache. That it can't be stored has been logged,
// and concerns nobody who has the value.
func (t *memcache) store(name, value string) { _ = t.cache.Set(name, value) }

// Close closes the tables behind this one.
func (t *memcache) Close() error {
	if t.backup == nil {
		return t.domains.Close()
	}
	return errors.Join(t.backup.Close(), t.domains.Close())
}
