package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Service is one entry of master.cf.
type Service struct {
	Name      string // "smtp", "127.0.0.1:2525", "[::1]:25"
	Type      string // inet unix fifo pass unix-dgram
	Private   string // y, n or "-"
	Unpriv    string
	Chroot    string
	Wakeup    string
	MaxProc   string
	Command   string
	Args      []string // without the -o pairs
	Overrides []Override
	Pos       Pos
	Fields    []string // the eight fields, options and arguments, { } only where needed
}

// Override is one -o of a service.
type Override struct {
	Name, Value string
	Pos         Pos
}

// ReadMaster reads DIR/master.cf. All errors found are returned together, each
// with its place.
func ReadMaster(dir string) ([]Service, []Warning, error) {
	path := filepath.Join(dir, "master.cf")
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	lines, stray, err := readLogical(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	var warnings []Warning
	if stray != "" {
		warnings = append(warnings, Warning{Pos{File: path}, stray})
	}
	var out []Service
	var errs []error
	index := make(map[string]int)
	for _, l := range lines {
		s, err := parseService(path, l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		key := s.Name + "/" + s.Type
		if at, dup := index[key]; dup {
			warnings = append(warnings, Warning{s.Pos, fmt.Sprintf("duplicate master.cf entry for service %q (%s) -- using the last entry", s.Name, s.Pos)})
			out[at] = s
			continue
		}
		index[key] = len(out)
		out = append(out, s)
	}
	return out, warnings, errors.Join(errs...)
}

var masterFields = [8]string{"service", "type", "private", "unpriv", "chroot", "wakeup", "maxproc", "command"}

func parseService(path string, l logical) (Service, error) {
	pos := Pos{path, l[0].line}
	words := splitFields(l.text())
	if len(words) < len(masterFields) {
		return Service{}, &Error{pos, fmt.Sprintf("missing %q field", masterFields[len(words)])}
	}
	f := make([]string, len(masterFields))
	for i := range f {
		f[i] = words[i].text
	}
	s := Service{
		Name: f[0], Type: f[1], Private: f[2], Unpriv: f[3], Chroot: f[4],
		Wakeup: f[5], MaxProc: f[6], Command: f[7], Pos: pos, Fields: f,
	}
	if err := s.check(); err != nil {
		return s, &Error{pos, err.Error()}
	}
	return s, s.arguments(path, l, words[len(masterFields):])
}

func (s *Service) check() error {
	switch s.Type {
	case "inet", "unix", "fifo", "pass", "unix-dgram":
	default:
		return fmt.Errorf("bad transport type: %s", s.Type)
	}
	for i, v := range []string{s.Private, s.Unpriv, s.Chroot} {
		if v != "y" && v != "n" && v != "-" {
			return fmt.Errorf("field %q: bad value: %q", masterFields[i+2], v)
		}
	}
	if s.Type == "inet" && s.Private != "n" {
		return errors.New("inet service cannot be private")
	}
	if s.Wakeup != "-" && !isDigits(strings.TrimSuffix(s.Wakeup, "?")) {
		return fmt.Errorf("field %q: bad value: %q", "wakeup", s.Wakeup)
	}
	if s.MaxProc != "-" && !isDigits(s.MaxProc) {
		return fmt.Errorf("field %q: bad value: %q", "maxproc", s.MaxProc)
	}
	return nil
}

// arguments reads what follows the command. Options end at the first word that
// does not begin with a dash; -o is the only one with a value.
func (s *Service) arguments(path string, l logical, words []listWord) error {
	for i := 0; i < len(words); i++ {
		w := unbrace(words[i].text)
		flags, value, isOption := strings.Cut(w, "o")
		if !strings.HasPrefix(w, "-") {
			s.rest(words[i:])
			return nil
		}
		if flags != "-" {
			s.Args = append(s.Args, flags)
			s.Fields = append(s.Fields, flags)
		}
		if !isOption {
			continue
		}
		pos := Pos{path, l.at(words[i].at)}
		if value == "" {
			if i++; i == len(words) {
				return &Error{pos, "option -o needs name=value"}
			}
			value = unbrace(words[i].text)
		}
		name, text, problem := splitNameValue(value)
		if problem != "" {
			return &Error{pos, "option -o: " + problem}
		}
		s.Overrides = append(s.Overrides, Override{name, text, pos})
		s.Fields = append(s.Fields, "-o", brace(name+"="+text))
	}
	return nil
}

// rest takes words as they are.
func (s *Service) rest(words []listWord) {
	for _, w := range words {
		text := unbrace(w.text)
		s.Args = append(s.Args, text)
		s.Fields = append(s.Fields, brace(text))
	}
}

// unbrace takes the outer { } and the white space within off a word.
func unbrace(s string) string {
	if strings.HasPrefix(s, "{") && matching(s) == len(s)-1 {
		return strings.Trim(s[1:len(s)-1], blank)
	}
	return s
}

// brace puts { } around a text that would not be one word without.
func brace(s string) string {
	if s == "" || strings.ContainsAny(s, blank) {
		return "{" + s + "}"
	}
	return s
}

// splitFields splits at white space; { } groups stay whole.
func splitFields(s string) []listWord {
	var out []listWord
	for _, w := range splitList(strings.ReplaceAll(s, ",", "\x00")) {
		w.text = strings.ReplaceAll(w.text, "\x00", ",")
		out = append(out, w)
	}
	return out
}
