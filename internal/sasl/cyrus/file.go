package cyrus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is an application's configuration, such as smtpd.conf.
type File struct {
	Path   string
	values map[string]string
	lines  map[string]int
	keys   []string // in the order of the file
}

// Find reads the first file NAME.conf in dirs.
func Find(name string, dirs []string) (*File, error) {
	if name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q is no name of a program: Cyrus SASL reads NAME.conf in the folders of cyrus_sasl_config_path (smtpd_sasl_path = smtpd reads smtpd.conf)", name)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name+".conf")
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return parse(path, text)
	}
	return nil, fmt.Errorf("there is no %s.conf in any of %s: write one there, or name its folder in cyrus_sasl_config_path", name, strings.Join(dirs, ", "))
}

// parse reads lines "key: value". Of two with the same key the first counts.
func parse(path string, text []byte) (*File, error) {
	f := &File{Path: path, values: make(map[string]string), lines: make(map[string]int)}
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, colon := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case !colon || key == "" || strings.ContainsFunc(key, notOfKey):
			return nil, fmt.Errorf("%s:%d: %q is not \"key: value\"", path, n, line)
		case value == "":
			return nil, fmt.Errorf("%s:%d: %s has no value; leave the line out", path, n, key)
		}
		key = strings.ToLower(key)
		if _, twice := f.values[key]; !twice {
			f.values[key], f.lines[key], f.keys = value, n, append(f.keys, key)
		}
	}
	return f, nil
}

func notOfKey(r rune) bool {
	return r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
}

// Get returns a key's value, "" for one that is not set.
func (f *File) Get(key string) string { return f.values[key] }

// fail tells where the value is that does not do.
func (f *File) fail(key, format string, args ...any) error {
	at := f.Path
	if n := f.lines[key]; n > 0 {
		at = fmt.Sprintf("%s:%d", at, n)
	}
	return fmt.Errorf("%s: %s: %w", at, key, fmt.Errorf(format, args...))
}

// words splits a list.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
}

// Yes reads a switch as Cyrus does.
func Yes(v string) bool {
	return v != "" && strings.Contains("1yYtT", v[:1]) || strings.EqualFold(v, "on")
}
