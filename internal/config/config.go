package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is a configuration directory as read, or one service's view of it. It
// never changes and is safe for concurrent use.
type Config struct {
	Dir      string
	Services []Service

	params map[string]Parameter
	values map[string]setting // main.cf
	over   map[string]setting // -o of one service
	host   map[string]string  // defaults that depend on the machine
	order  []string           // names in order of main.cf
}

// setting is a value as written.
type setting struct {
	raw   string
	lines logical // where it was written; nil for -o
	start int     // offset of raw in lines.text()
	pos   Pos
}

// Load reads DIR/main.cf and DIR/master.cf and checks the type of every value,
// also under each service's -o. All errors found are returned together, each
// with its place.
func Load(dir string) (*Config, []Warning, error) {
	c, warnings, err := ReadMain(dir)
	if err != nil {
		return nil, warnings, err
	}
	services, more, err := ReadMaster(dir)
	warnings = append(warnings, more...)
	if err != nil {
		return nil, warnings, err
	}
	c.Services = services
	errs := []error{c.validate()}
	for _, s := range services {
		if len(s.Overrides) > 0 {
			errs = append(errs, c.Service(s).validateOver())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, warnings, err
	}
	return c, warnings, nil
}

// Defaults returns a configuration in which nothing is set.
func Defaults() *Config {
	return &Config{params: parameterTable(), values: make(map[string]setting), host: hostDefaults()}
}

// ReadMain reads DIR/main.cf and nothing else; it does not look at the types
// of values.
func ReadMain(dir string) (*Config, []Warning, error) {
	c := Defaults()
	c.Dir = dir
	c.host["config_directory"] = dir
	path := filepath.Join(dir, "main.cf")
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	warnings, err := c.parse(path, f)
	if err != nil {
		return nil, warnings, err
	}
	return c, warnings, nil
}

func (c *Config) parse(path string, r io.Reader) ([]Warning, error) {
	lines, stray, err := readLogical(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var warnings []Warning
	if stray != "" {
		warnings = append(warnings, Warning{Pos{File: path}, stray})
	}
	var errs []error
	for _, l := range lines {
		name, s, err := splitSetting(path, l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if old, dup := c.values[name]; dup {
			warnings = append(warnings, Warning{s.pos, "overriding earlier entry: " + name + "=" + old.raw})
		} else {
			c.order = append(c.order, name)
		}
		c.values[name] = s
	}
	return warnings, errors.Join(errs...)
}

// splitSetting cuts "name = value" of one logical line.
func splitSetting(path string, l logical) (string, setting, error) {
	text := l.text()
	pos := Pos{path, l[0].line}
	name, value, problem := splitNameValue(text)
	if problem != "" {
		return "", setting{}, &Error{pos, problem}
	}
	start := len(text) - len(strings.TrimLeft(text[strings.IndexByte(text, '=')+1:], blank))
	return name, setting{raw: value, lines: l, start: start, pos: pos}, nil
}

// splitNameValue cuts "name = value"; a name is one word.
func splitNameValue(text string) (name, value, problem string) {
	name, value, ok := strings.Cut(text, "=")
	name, value = strings.Trim(name, blank), strings.Trim(value, blank)
	switch {
	case name == "":
		return "", "", fmt.Sprintf("missing attribute name: %q", text)
	case !ok || strings.ContainsAny(name, blank):
		return "", "", fmt.Sprintf("missing '=' after attribute name: %q", text)
	}
	return name, value, ""
}

// Service returns the view of c that a service has: its -o values come before
// those of main.cf, and $service_name is its own.
func (c *Config) Service(s Service) *Config {
	v := c.With(s.Overrides)
	v.host = maps.Clone(c.host)
	v.host["service_name"] = s.Name
	v.host["process_name"] = path.Base(s.Command)
	return v
}

// With returns c with values that come before those of main.cf; of several for
// one name the last counts.
func (c *Config) With(overrides []Override) *Config {
	v := *c
	v.over = make(map[string]setting, len(overrides))
	for _, o := range overrides {
		v.over[o.Name] = setting{raw: o.Value, pos: o.Pos}
	}
	return &v
}

// Parameter returns what the table says of a parameter; what it says of those
// that every transport has (default_x) holds for each transport's own
// (smtp_x) too.
func (c *Config) Parameter(name string) (p Parameter, known bool) {
	if p, known = c.params[name]; known {
		return p, true
	}
	longest := ""
	for suffix := range transportSuffixes {
		if strings.HasSuffix(name, suffix) && len(suffix) > len(longest) {
			longest = suffix
		}
	}
	if longest == "" {
		return p, false
	}
	origin := transportSuffixes[longest]
	p = c.params[origin]
	p.Name, p.Default = name, "$"+origin
	return p, true
}

// Names returns the names that main.cf sets, in the order of their first
// mention.
func (c *Config) Names() []string { return slices.Clone(c.order) }

func (c *Config) setting(name string) (setting, bool) {
	if s, ok := c.over[name]; ok {
		return s, true
	}
	s, ok := c.values[name]
	return s, ok
}

// Raw returns a parameter as written, or its default; set tells which.
func (c *Config) Raw(name string) (value string, set bool) {
	if s, ok := c.setting(name); ok {
		return s.raw, true
	}
	return c.Default(name), false
}

// Default returns a parameter's default, not expanded.
func (c *Config) Default(name string) string {
	switch name {
	case "mydomain":
		return c.parentDomain()
	case "mynetworks":
		return c.ownNetworks()
	}
	if v, ok := c.host[name]; ok {
		return v
	}
	p, _ := c.Parameter(name)
	return p.Default
}

// Set reports whether main.cf or a -o gives the parameter a value.
func (c *Config) Set(name string) bool {
	_, ok := c.setting(name)
	return ok
}

// Pos returns where the parameter is set; the zero Pos for a default.
func (c *Config) Pos(name string) Pos {
	s, _ := c.setting(name)
	return s.pos
}

// Str returns a parameter's value with all $names replaced. A name that is
// neither known nor set is empty.
func (c *Config) Str(name string) string {
	v, _ := c.Eval(name)
	return v
}

// Eval is Str with the error of a malformed expression, which Load has found
// already for every parameter that is set.
func (c *Config) Eval(name string) (string, error) {
	raw, _ := c.Raw(name)
	if c.params[name].Type == TypeRaw {
		return raw, nil
	}
	return c.ExpandValue(raw)
}

// ExpandValue replaces the $names in a text by the values of parameters.
func (c *Config) ExpandValue(text string) (string, error) {
	x := expander{recurse: true, lookup: func(n string) (string, bool) {
		v, set := c.Raw(n)
		return v, set || v != ""
	}}
	return x.expand(text, 0)
}

// Bool returns a boolean parameter.
func (c *Config) Bool(name string) bool { return strings.EqualFold(c.Str(name), "yes") }

// Int returns a number.
func (c *Config) Int(name string) int {
	n, _ := strconv.Atoi(c.Str(name))
	return n
}

// Duration returns a time.
func (c *Config) Duration(name string) time.Duration {
	d, _ := ParseTime(c.Str(name), defaultUnit(c.params[name]))
	return d
}

// ParseTime reads a number with a unit s, m, h, d or w; without one it has
// the given unit.
func ParseTime(s string, unit byte) (time.Duration, error) {
	if s == "" {
		return 0, errors.New("empty time")
	}
	if last := s[len(s)-1]; last < '0' || last > '9' {
		unit, s = last, s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("bad time %q", s)
	}
	switch unit {
	case 's':
		return time.Duration(n) * time.Second, nil
	case 'm':
		return time.Duration(n) * time.Minute, nil
	case 'h':
		return time.Duration(n) * time.Hour, nil
	case 'd':
		return time.Duration(n) * 24 * time.Hour, nil
	case 'w':
		return time.Duration(n) * 7 * 24 * time.Hour, nil
	}
	return 0, fmt.Errorf("unknown unit %q", string(unit))
}

// defaultUnit is that of the parameter's default value.
func defaultUnit(p Parameter) byte {
	if p.Default == "" {
		return 's'
	}
	if u := p.Default[len(p.Default)-1]; strings.IndexByte("smhdw", u) >= 0 {
		return u
	}
	return 's'
}

// Item is one element of a list value with its place.
type Item struct {
	Text string
	Pos  Pos
}

// List splits a value at commas and white space; { } groups stay whole. The
// elements of a value that is written out in main.cf carry their own line,
// those that come from a $name the line of the parameter.
func (c *Config) List(name string) []Item {
	s, ok := c.setting(name)
	raw, _ := c.Raw(name)
	var out []Item
	for _, w := range splitList(raw) {
		pos := s.pos
		if ok && s.lines != nil {
			pos.Line = s.lines.at(s.start + w.at)
		}
		if !strings.Contains(w.text, "$") {
			out = append(out, Item{w.text, pos})
			continue
		}
		text, err := c.ExpandValue(w.text)
		if err != nil {
			continue
		}
		for _, e := range splitList(text) {
			out = append(out, Item{e.text, pos})
		}
	}
	return out
}

type listWord struct {
	text string
	at   int
}

func splitList(s string) []listWord {
	var out []listWord
	depth, start := 0, -1
	flush := func(end int) {
		if start >= 0 {
			out = append(out, listWord{s[start:end], start})
			start = -1
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		sep := c == ',' || strings.IndexByte(blank, c) >= 0
		switch {
		case sep && depth == 0:
			flush(i)
			continue
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		}
		if start < 0 {
			start = i
		}
	}
	flush(len(s))
	return out
}

// Words splits a list at commas and white space; what stands in braces stays
// together.
func Words(list string) []string {
	var out []string
	for _, w := range splitList(list) {
		out = append(out, w.text)
	}
	return out
}

// Strings returns the texts of List.
func (c *Config) Strings(name string) []string {
	items := c.List(name)
	out := make([]string, len(items))
	for i, it := range items {
		out[i] = it.Text
	}
	return out
}
