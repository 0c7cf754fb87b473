package table

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
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
	values := random(splitWords(body))
	if err != nil || len(values) == 0 {
		return nil, syntaxError("randmap:"+name, "randmap:{value...}")
	}
	return values, nil
}

// syntaxError is for a table that is written out wrongly in its name.
func syntaxError(spec, want string) error {
	return fmt.Errorf("bad syntax: %q; need %q", spec, want)
}

// inline is a table written out in its name.
type inline map[string]string

func (t inline) Lookup(key string) (string, bool, error) {
	v, ok := t[strings.ToLower(key)]
	return v, ok && key != "", nil
}
func (inline) Close() error { return nil }

// All returns the entries in order of key.
func (t inline) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(t)) {
			if !yield(k, t[k]) {
				return
			}
		}
	}
}

func openInline(name string) (Table, error) {
	const want = "inline:{name=value...}"
	spec := "inline:" + name
	body, err := braced(name)
	words := splitWords(body)
	if err != nil || len(words) == 0 {
		return nil, syntaxError(spec, want)
	}
	t := make(inline)
	for _, w := range words {
		k, v, problem := nameValue(inner(w))
		if problem != "" {
			return nil, fmt.Errorf("%s: %q; need %q", problem, spec, want)
		}
		t[strings.ToLower(k)] = v
	}
	return t, nil
}

// nameValue cuts "name = value". Blanks and "=" within quotes belong to the name,
// and so do the quotes.
func nameValue(s string) (name, value, problem string) {
	s = strings.Trim(s, blank)
	end, quoted := 0, false
	for ; end < len(s) && (quoted || s[end] != '=' && !strings.ContainsRune(blank, rune(s[end]))); end++ {
		switch s[end] {
		case '\\':
			if end+1 < len(s) {
				end++
			}
		case '"':
			quoted = !quoted
		}
	}
	if quoted {
		return "", "", `unbalanced '"'`
	}
	value, ok := strings.CutPrefix(strings.TrimLeft(s[end:], blank), "=")
	if !ok {
		return "", "", "missing '=' after attribute name"
	}
	return s[:end], strings.Trim(value, blank), ""
}

// braced takes the braces off "{...}"; they must belong together.
func braced(s string) (string, error) {
	if !strings.HasPrefix(s, "{") {
		return "", fmt.Errorf("no '{' at start of text in %q", s)
	}
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth > 0 {
			continue
		}
		if i+1 < len(s) {
			return "", fmt.Errorf("syntax error after '}' in %q", s)
		}
		return s[1:i], nil
	}
	return "", fmt.Errorf("missing '}' in %q", s)
}

// inner takes the braces off a word that has them, and the white space within.
func inner(s string) string {
	if b, err := braced(s); err == nil {
		return strings.Trim(b, blank)
	}
	return s
}

// openStatic reads "text" or "{ text }".
func openStatic(name string) (Table, error) {
	if !strings.HasPrefix(name, "{") {
		return static(name), nil
	}
	body, err := braced(name)
	if err != nil {
		return nil, fmt.Errorf("bad static:name syntax: %w", err)
	}
	return static(strings.Trim(body, blank)), nil
}

// splitWords splits at commas and white space; { } groups stay whole.
func splitWords(s string) []string {
	var out []string
	depth, start := 0, -1
	for i := 0; i <= len(s); i++ {
		if i == len(s) || depth == 0 && strings.IndexByte(","+blank, s[i]) >= 0 {
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
	fold   bool // the first is asked for parts of keys: then all get keys in lower case
}

func groupMembers(name string) ([]string, error) {
	body, err := braced(name)
	return splitWords(body), err
}

func (s *Set) openMembers(typ, name string, depth int) (Table, error) {
	words, err := groupMembers(name)
	if err != nil || len(words) == 0 {
		return nil, syntaxError(typ+":"+name, typ+":{type:name...}")
	}
	m := &members{pipe: typ == "pipemap", fold: Partial(words[0])}
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
	if m.fold {
		key = strings.ToLower(key)
	}
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

// debugged says in the log what each lookup of a table came to.
type debugged struct {
	Table
	name string
	log  *slog.Logger
}

func (s *Set) openDebug(name string, depth int) (Table, error) {
	t, err := s.open(name, depth+1)
	if err != nil {
		return nil, err
	}
	return debugged{t, name, s.o.Log}, nil
}

func (d debugged) Lookup(key string) (string, bool, error) {
	value, found, err := d.Table.Lookup(key)
	result := value
	switch {
	case err != nil:
		result = "error"
	case !found:
		result = "not_found"
	}
	d.log.Info(fmt.Sprintf("%s lookup: \"%s\" = \"%s\"", d.name, key, result))
	return value, found, err
}
