package sqldb

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// defaultOptionFiles are those that MySQL's client reads unless it is told
// another; the later ones win.
var defaultOptionFiles = []string{"/etc/my.cnf", "/etc/mysql/my.cnf"}

// optionGroups are the groups that every client reads.
var optionGroups = []string{"client", "client-server", "client-mariadb"}

// maxIncludes bounds files that include files.
const maxIncludes = 100

// readOptionFiles returns the client's options in an option file of MySQL, or
// in the default ones, by their names with "-" for "_".
func readOptionFiles(file, group string) (map[string]string, error) {
	r := optionReader{groups: append([]string{group}, optionGroups...), options: map[string]string{}}
	if file != "" {
		if err := r.read(file); err != nil {
			return nil, fmt.Errorf("option_file: %w", err)
		}
		return r.options, nil
	}
	for _, f := range defaultOptionFiles {
		if err := r.read(f); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
	return r.options, nil
}

type optionReader struct {
	groups  []string
	options map[string]string
	files   int
}

func (r *optionReader) read(path string) error {
	if r.files++; r.files > maxIncludes {
		return fmt.Errorf("%s: more than %d option files", path, maxIncludes)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	ours := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case strings.HasPrefix(line, "!"):
			if err := r.include(strings.Fields(line)); err != nil {
				return err
			}
		case strings.HasPrefix(line, "["):
			ours = slices.Contains(r.groups, strings.Trim(line, "[] "))
		case ours:
			r.set(line)
		}
	}
	return lines.Err()
}

func (r *optionReader) include(words []string) error {
	if len(words) != 2 {
		return fmt.Errorf("%q: a name is missing", words[0])
	}
	switch words[0] {
	case "!include":
		return r.read(words[1])
	case "!includedir":
		files, err := filepath.Glob(filepath.Join(words[1], "*.cnf"))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := r.read(f); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%q is neither !include nor !includedir", words[0])
}

// set takes "name = value"; quotes around the value are dropped, and what
// follows " #" behind an unquoted one.
func (r *optionReader) set(line string) {
	name, value, _ := strings.Cut(line, "=")
	value = strings.TrimSpace(value)
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') {
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
			value = value[1 : end+1]
		}
	} else {
		value, _, _ = strings.Cut(value, " #")
		value = strings.TrimSpace(value)
	}
	r.options[strings.ReplaceAll(strings.TrimSpace(name), "_", "-")] = value
}
