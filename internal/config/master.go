package config

import (
	"errors"
	"fmt"
	"os"
	"strconv"
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
	Fields    []string // all fields as written, for postconf -M
}

// Override is one -o of a service.
type Override struct {
	Name, Value string
	Pos         Pos
}

func readMaster(path string) ([]Service, []Warning, error) {
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
	for _, n := range stray {
		warnings = append(warnings, Warning{Pos{path, n}, "logical line must not start with whitespace; the line is ignored"})
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
		return Service{}, fmt.Errorf("%s: missing %q field", pos, masterFields[len(words)])
	}
	f := make([]string, len(words))
	for i, w := range words {
		f[i] = w.text
	}
	s := Service{
		Name: f[0], Type: f[1], Private: f[2], Unpriv: f[3], Chroot: f[4],
		Wakeup: f[5], MaxProc: f[6], Command: f[7], Pos: pos, Fields: f,
	}
	if err := s.check(); err != nil {
		return s, fmt.Errorf("%s: %w", pos, err)
	}
	return s, s.arguments(path, l, words[8:])
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
	if s.Type == "inet" && s.Private == "y" {
		return errors.New("inet service cannot be private")
	}
	if _, err := strconv.Atoi(strings.TrimSuffix(s.Wakeup, "?")); err != nil && s.Wakeup != "-" {
		return fmt.Errorf("field %q: bad value: %q", "wakeup", s.Wakeup)
	}
	if _, err := strconv.Atoi(s.MaxProc); err != nil && s.MaxProc != "-" {
		return fmt.Errorf("field %q: bad value: %q", "maxproc", s.MaxProc)
	}
	return nil
}

// arguments takes the -o pairs out of a service's arguments.
func (s *Service) arguments(path string, l logical, words []listWord) error {
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !strings.HasPrefix(w.text, "-o") {
			s.Args = append(s.Args, w.text)
			continue
		}
		text := w.text[2:]
		if text == "" {
			if i++; i == len(words) {
				return fmt.Errorf("%s: option -o needs name=value", s.Pos)
			}
			text = words[i].text
		}
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") {
			text = strings.TrimSpace(text[1 : len(text)-1])
		}
		name, value, ok := strings.Cut(text, "=")
		pos := Pos{path, l.at(w.at)}
		if !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("%s: option -o: missing '=' after attribute name: %q", pos, text)
		}
		s.Overrides = append(s.Overrides, Override{strings.TrimSpace(name), strings.TrimSpace(value), pos})
	}
	return nil
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
