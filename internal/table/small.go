package table

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/user"
	"strings"
)

// static returns its text for every key.
type static string

func (s static) Lookup(string) (string, bool, error) { return string(s), true, nil }
func (static) Close() error                          { return nil }

// failing fails every lookup.
type failing string

func (f failing) Lookup(string) (string, bool, error) {
	return "", false, errors.New("fail:" + string(f) + " fails every lookup")
}
func (failing) Close() error { return nil }

// environ looks names up in the environment.
type environ struct {
	env func(string) (string, bool)
}

func (e environ) Lookup(key string) (string, bool, error) {
	v, ok := e.env(key)
	return v, ok, nil
}
func (environ) Close() error { return nil }

// random returns one of its values for every key.
type random []string

func (r random) Lookup(string) (string, bool, error) { return r[rand.IntN(len(r))], true, nil }
func (random) Close() error                          { return nil }

func openRandom(name string) (Table, error) {
	body, err := braced(name)
	if err != nil {
		return nil, err
	}
	var values random
	for _, w := range splitWords(body) {
		values = append(values, inner(w))
	}
	if len(values) == 0 {
		return nil, errors.New("the list of values is empty (write randmap:{value, value})")
	}
	return values, nil
}

// inline is a table written out in its name.
type inline map[string]string

func (t inline) Lookup(key string) (string, bool, error) {
	v, ok := t[strings.ToLower(key)]
	return v, ok, nil
}
func (inline) Close() error { return nil }

func openInline(name string) (Table, error) {
	body, err := braced(name)
	if err != nil {
		return nil, err
	}
	t := make(inline)
	for _, w := range splitWords(body) {
		k, v, ok := strings.Cut(inner(w), "=")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if !ok || k == "" || v == "" {
			return nil, fmt.Errorf("missing '=' after attribute name, or no value: %q (write inline:{name=value, ...})", w)
		}
		k = strings.ToLower(k)
		if _, dup := t[k]; !dup {
			t[k] = v
		}
	}
	if len(t) == 0 {
		return nil, errors.New("the table is empty (write inline:{name=value, ...})")
	}
	return t, nil
}

// braced takes the braces off "{...}".
func braced(s string) (string, error) {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") || len(s) < 2 {
		return "", fmt.Errorf("%q must be enclosed in { }", s)
	}
	return s[1 : len(s)-1], nil
}

// inner takes the braces off a word that has them.
func inner(s string) string {
	if b, err := braced(s); err == nil {
		return strings.TrimSpace(b)
	}
	return s
}

// splitWords splits at commas and white space; { } groups stay whole.
func splitWords(s string) []string {
	var out []string
	depth, start := 0, -1
	for i := 0; i <= len(s); i++ {
		if i == len(s) || depth == 0 && strings.IndexByte(", \t\r\n", s[i]) >= 0 {
			if start >= 0 {
				out = append(out, s[start:i])
				start = -1
			}
			continue
		}
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if start < 0 {
			start = i
		}
	}
	return out
}

// members is a table of tables: their union, or a pipe through them.
type members struct {
	tables []Table
	pipe   bool
}

func groupMembers(name string) ([]string, error) {
	body, err := braced(name)
	if err != nil {
		return nil, err
	}
	words := splitWords(body)
	if len(words) == 0 {
		return nil, errors.New("the list of tables is empty")
	}
	for i, w := range words {
		words[i] = inner(w)
	}
	return words, nil
}

func (s *Set) openMembers(typ, name string, depth int) (Table, error) {
	words, err := groupMembers(name)
	if err != nil {
		return nil, err
	}
	m := &members{pipe: typ == "pipemap"}
	for _, w := range words {
		t, err := s.open(w, depth+1)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.tables = append(m.tables, t)
	}
	return m, nil
}

func (m *members) Lookup(key string) (string, bool, error) {
	if m.pipe {
		return m.through(key)
	}
	var values []string
	for _, t := range m.tables {
		v, ok, err := t.Lookup(key)
		if err != nil {
			return "", false, err
		}
		if ok {
			values = append(values, v)
		}
	}
	return strings.Join(values, ","), len(values) > 0, nil
}

func (m *members) through(key string) (string, bool, error) {
	for _, t := range m.tables {
		v, ok, err := t.Lookup(key)
		if err != nil || !ok {
			return "", false, err
		}
		key = v
	}
	return key, true, nil
}

func (m *members) Close() error {
	var errs []error
	for _, t := range m.tables {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// unixTable is passwd.byname or group.byname of the system.
type unixTable struct{ group bool }

func openUnix(name string) (Table, error) {
	switch name {
	case "passwd.byname":
		return unixTable{}, nil
	case "group.byname":
		return unixTable{group: true}, nil
	}
	return nil, fmt.Errorf("unknown map %q (use passwd.byname or group.byname)", name)
}

func (t unixTable) Lookup(key string) (string, bool, error) {
	if t.group {
		g, err := user.LookupGroup(key)
		if err != nil {
			return "", false, notUnknown(err)
		}
		return g.Name + ":*:" + g.Gid + ":", true, nil
	}
	u, err := user.Lookup(key)
	if err != nil {
		return "", false, notUnknown(err)
	}
	return strings.Join([]string{u.Username, "*", u.Uid, u.Gid, u.Name, u.HomeDir, ""}, ":"), true, nil
}

func (unixTable) Close() error { return nil }

// notUnknown drops the errors that only say that a name does not exist.
func notUnknown(err error) error {
	var u user.UnknownUserError
	var g user.UnknownGroupError
	if errors.As(err, &u) || errors.As(err, &g) {
		return nil
	}
	return err
}
