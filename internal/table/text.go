package table

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"unicode/utf8"

	"sekisho/internal/config"
)

// blank are the characters that are white space to Postfix.
const blank = " \t\r\n\v\f"

// openText opens a table of "key value" lines (postmap(1)), or of "key: value"
// lines (postalias(1)). Lines that make no sense are left out with a warning, as
// postmap leaves them out.
func openText(path string, aliases bool, o Options) (Table, error) {
	t, err := openReloading(path, o, func(content string) (lookuper, error) {
		n := &notes{path: path, o: o}
		if aliases {
			return parseAliases(content, n.odd, n.stray)
		}
		return ParseText(content, n.odd, n.stray)
	})
	if errors.Is(err, fs.ErrNotExist) {
		for _, suffix := range []string{".db", ".lmdb", ".cdb"} {
			if _, missing := os.Stat(path + suffix); missing == nil {
				return nil, fmt.Errorf("%w (put the text there that %s was made from: Sekisho reads that)", err, path+suffix)
			}
		}
	}
	return t, err
}

// openTextHash opens a table that Postfix reads as it is: with no postmap to say
// so before, a key that is there twice makes it useless.
func openTextHash(path string, o Options) (Table, error) {
	return openReloading(path, o, func(content string) (lookuper, error) {
		n := &notes{path: path, o: o}
		odd := n.odd
		if !o.Duplicates {
			odd = func(line int, text string) {
				if strings.HasPrefix(text, duplicateEntry) {
					n.errs = append(n.errs, &config.Error{Pos: config.Pos{File: path, Line: line}, Text: text})
					return
				}
				n.odd(line, text)
			}
		}
		t, err := ParseText(content, odd, n.stray)
		if err := errors.Join(append(n.errs, err)...); err != nil {
			return nil, err
		}
		return t, nil
	})
}

// Text is a table of keys and values; keys are compared in lower case.
type Text struct {
	m    map[string]string
	keys []string // in order of the file
}

// All returns the entries in the order of the file.
func (t *Text) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, k := range t.keys {
			if !yield(k, t.m[k]) {
				return
			}
		}
	}
}

// Lookup searches the table; it never fails.
func (t *Text) Lookup(key string) (string, bool, error) {
	v, ok := t.m[strings.ToLower(key)]
	return v, ok, nil
}

// ParseText reads the source of an indexed table. Lines that make no sense are
// left out and told to odd in Postfix's words; a top that continues nothing is
// told to stray. The error is for a source that cannot be read at all.
func ParseText(content string, odd func(line int, text string), stray func(text string)) (*Text, error) {
	return parseLines(content, (*Text).add, odd, stray)
}

// parseAliases is ParseText for an alias file. Lines without a colon are read
// as ParseText reads them, since one cannot see whether the database was made by
// postalias or by postmap.
func parseAliases(content string, odd func(line int, text string), stray func(text string)) (*Text, error) {
	return parseLines(content, (*Text).addAlias, odd, stray)
}

type adder func(t *Text, line string, odd func(string))

func parseLines(content string, add adder, odd func(line int, text string), stray func(text string)) (*Text, error) {
	lines, top, err := config.Lines(strings.NewReader(content))
	if err != nil {
		return nil, err
	}
	stray(top)
	t := &Text{m: make(map[string]string)}
	for _, l := range lines {
		add(t, l.Text, func(text string) { odd(l.Number, text) })
	}
	return t, nil
}

// add stores one line.
func (t *Text) add(line string, odd func(text string)) {
	if !utf8.ValidString(line) {
		odd(`non-UTF-8 input "` + printable(line) + `" -- ignoring this line`)
		return
	}
	key, value, ok := splitKey(line)
	switch {
	case !ok:
		odd(`unbalanced '"' in '` + line + `' -- ignoring this line`)
		return
	case value == "":
		odd("expected format: key whitespace value -- ignoring this line")
		return
	}
	if strings.HasSuffix(key, ":") {
		odd(`record is in "key: value" format; is this an alias file?`)
	}
	t.put(key, value, odd)
}

// addAlias stores one line of an alias file.
func (t *Text) addAlias(line string, odd func(string)) {
	key, value, ok := splitAlias(line)
	switch {
	case !ok:
		t.add(line, odd)
	case key == "" || value == "":
		odd("need name:value pair")
	default:
		t.put(key, value, odd)
	}
}

const duplicateEntry = "duplicate entry: "

func (t *Text) put(key, value string, odd func(string)) {
	folded := strings.ToLower(key)
	if _, dup := t.m[folded]; dup {
		odd(duplicateEntry + `"` + key + `"`)
		return
	}
	t.m[folded] = value
	t.keys = append(t.keys, folded)
}

// splitAlias cuts "name: value"; a colon within quotes belongs to the name,
// which loses its quotes.
func splitAlias(line string) (name, value string, ok bool) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case c == '"':
			quoted = !quoted
		case c == ':' && !quoted:
			return strings.Trim(b.String(), blank), strings.Trim(line[i+1:], blank), true
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
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
		case strings.IndexByte(blank, c) >= 0 && !quoted:
			return line[:i], strings.Trim(line[i:], blank), true
		}
	}
	return line, "", !quoted
}

// printable replaces the bytes that cannot be shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
