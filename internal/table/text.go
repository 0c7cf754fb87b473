package table

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// openText opens a table of "key value" lines (postmap(1)).
func openText(path string, o Options) (Table, error) {
	return openReloading(path, o, func(content string) (lookuper, error) {
		t, warnings := ParseText(path, content, true)
		for _, w := range warnings {
			o.Log.Warn(w)
		}
		return t, nil
	})
}

// Text is a table of keys and values.
type Text struct {
	m    map[string]string
	keys []string // in order of the file
	fold bool
}

// Keys returns the keys in the order of the file.
func (t *Text) Keys() []string { return t.keys }

// Value returns the value of a key as stored.
func (t *Text) Value(key string) string { return t.m[key] }

func (t *Text) lookup(key string) (string, bool, error) {
	if t.fold {
		key = strings.ToLower(key)
	}
	v, ok := t.m[key]
	return v, ok, nil
}

// Lookup searches the table; it never fails.
func (t *Text) Lookup(key string) (string, bool, error) { return t.lookup(key) }

// ParseText reads the source of an indexed table; fold makes keys lower case.
// Lines that make no sense are left out and reported in Postfix's words.
func ParseText(path, content string, fold bool) (*Text, []string) {
	t := &Text{m: make(map[string]string), fold: fold}
	var warnings []string
	for _, l := range logicalLines(content) {
		where := fmt.Sprintf("%s, line %d: ", path, l.line)
		if l.stray {
			warnings = append(warnings, where+"logical line must not start with whitespace; ignored")
			continue
		}
		if w := t.add(l.text); w != "" {
			warnings = append(warnings, where+w)
		}
	}
	return t, warnings
}

// add stores one line and returns what is odd about it.
func (t *Text) add(line string) (warning string) {
	if !utf8.ValidString(line) {
		return "non-UTF-8 input, ignoring this line"
	}
	key, value, ok := splitKey(line)
	switch {
	case !ok:
		return "unbalanced '\"' in key, ignoring this line"
	case value == "":
		return "expected format: key whitespace value"
	}
	if strings.HasSuffix(key, ":") {
		warning = "record is in \"key: value\" format; is this an alias file?"
	}
	if t.fold {
		key = strings.ToLower(key)
	}
	if _, dup := t.m[key]; dup {
		return "duplicate entry: \"" + key + "\""
	}
	t.m[key] = value
	t.keys = append(t.keys, key)
	return warning
}

// splitKey cuts a line after its key; white space inside double quotes belongs
// to the key.
func splitKey(line string) (key, value string, ok bool) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return line[:i], strings.TrimSpace(line[i:]), true
		}
	}
	return line, "", !quoted
}

type logicalLine struct {
	text  string
	line  int
	stray bool // begins with white space and continues nothing
}

// logicalLines joins continuation lines and drops comments and blank lines,
// also between them.
func logicalLines(content string) []logicalLine {
	var out []logicalLine
	for n, l := range strings.Split(content, "\n") {
		l = strings.TrimRight(l, " \t\r")
		trimmed := strings.TrimLeft(l, " \t")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		switch {
		case len(trimmed) == len(l):
			out = append(out, logicalLine{text: l, line: n + 1})
		case len(out) == 0 || out[len(out)-1].stray:
			out = append(out, logicalLine{text: trimmed, line: n + 1, stray: true})
		default:
			out[len(out)-1].text += l
		}
	}
	return out
}
