// Package postmap is the command postmap(1) as far as it asks tables: -q, also
// with whole messages on standard input (-h, -b, -m), and -s. Sekisho reads
// indexed tables from their source text, so that there is no database to make:
// called for that, it reads the source and says what is odd about it.
package postmap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"unicode/utf8"

	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/getopt"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/table"
)

// Env is what the command gets from the program.
type Env struct {
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Config string // the folder of main.cf if -c does not say
	Clock  clock.Clock
}

// Cmd takes its command line as it is, which comes after "--": it is read as getopt(3) reads that of
// Postfix's command.
type Cmd struct {
	Args []string `arg:"" optional:"" help:"[-bhjms] [-c DIR] [-q KEY] [TYPE:]FILE..."`
}

// Run runs the command; the error is an exit.Status.
func (c *Cmd) Run(env *Env) error { return exit.Error(Run(env, c.Args)) }

// Run runs one command line and returns its exit status: 0 when a key was
// found, or there was nothing to find; 1 otherwise.
func Run(env *Env, args []string) int {
	m := &run{env: env, dir: env.Config}
	found, err := m.run(args)
	if err != nil {
		fmt.Fprintln(env.Err, "postmap: fatal: "+err.Error())
	}
	if err != nil || !found {
		return 1
	}
	return 0
}

const usage = "usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."

// run is one run of the command.
type run struct {
	env      *Env
	dir      string
	key      string
	query    bool
	sequence bool
	parts    string // of "hbm": which lines of messages are keys
	json     bool   // -j, of Postfix 3.11
	tables   []string
	cfg      *config.Config
	set      *table.Set
}

func (m *run) run(args []string) (found bool, err error) {
	if err := m.options(args); err != nil {
		return false, err
	}
	cfg, warnings, err := config.ReadMain(m.dir)
	for _, w := range warnings {
		m.warn(fmt.Sprintf("%s, line %d: %s", w.Pos.File, w.Pos.Line, w.Text))
	}
	if err != nil {
		return false, trouble(err)
	}
	m.cfg = cfg
	m.set = table.NewSet(table.Options{
		Clock: m.env.Clock, Log: slog.New(warner{m.warn}), DefaultType: cfg.Str("default_database_type"),
		Aliases: append(cfg.Strings("alias_maps"), cfg.Strings("alias_database")...),
		Env:     os.LookupEnv, Param: cfg.Str, Tolerant: true, Duplicates: true,
	})
	defer m.set.Close()
	switch {
	case m.sequence:
		return true, m.dump()
	case !m.query:
		return true, m.open()
	case m.key == "-":
		return m.keys()
	}
	return m.one()
}

func (m *run) options(args []string) error {
	options, operands, err := getopt.Parse(args, "bc:d:fFhijmnNopq:rsuUvw")
	if err != nil {
		fmt.Fprintln(m.env.Err, "postmap: "+err.Error())
		return errors.New(usage)
	}
	asked := 0
	for _, o := range options {
		switch o.Letter {
		case 'c':
			m.dir = o.Value
		case 'q':
			m.query, m.key = true, o.Value
			asked++
		case 's':
			m.sequence = true
			asked++
		case 'j':
			m.json = true
		case 'b', 'h', 'm':
			m.parts += string(rune(o.Letter))
		case 'd', 'i', 'F':
			return fmt.Errorf("this version has no -%c: edit the table's source, it is read again when it changes", o.Letter)
		}
	}
	m.tables = operands
	switch {
	case asked > 1:
		return errors.New("specify only one of -s -q or -d")
	case m.parts != "" && m.key != "-":
		return errors.New(`specify -b -h or -m only with "-q -"`)
	case m.json && !m.query && !m.sequence:
		return errors.New("option -j requires -q or -s")
	case len(m.tables) == 0:
		return errors.New(usage)
	}
	if m.parts == "m" {
		m.warn("ignoring -m option without -b or -h")
		m.parts = ""
	}
	return nil
}

func (m *run) warn(text string) { fmt.Fprintln(m.env.Err, "postmap: warning: "+printable(text)) }

// open reads the tables and says what is odd about them.
func (m *run) open() error {
	for _, spec := range m.tables {
		if err := m.set.Open(spec); err != nil {
			return trouble(err)
		}
	}
	return nil
}

// one asks the tables for one key until one has it.
func (m *run) one() (bool, error) {
	value, found, err := m.lookup(m.key)
	switch {
	case found && m.json:
		m.entry(m.env.Out, m.key, value)
	case found:
		fmt.Fprintln(m.env.Out, value)
	}
	return found, err
}

// lookup asks the tables in order.
func (m *run) lookup(key string) (value string, found bool, err error) {
	for _, spec := range m.tables {
		if m.parts == "" && !utf8.ValidString(key) && m.cfg.Bool("smtputf8_enable") {
			m.warn(fmt.Sprintf("%s: non-UTF-8 key \"%s\": malformed UTF-8 or invalid codepoint", spec, key))
			continue
		}
		if err := m.set.Open(spec); err != nil {
			return "", false, trouble(err)
		}
		value, found, err := m.set.Lookup(spec, key)
		if err != nil {
			return "", false, fmt.Errorf("table %s: query error: %w", m.full(spec), err)
		}
		if m.parts == "" && !utf8.ValidString(value) && m.cfg.Bool("smtputf8_enable") {
			m.warn(fmt.Sprintf("%s: key \"%s\": non-UTF-8 value \"%s\": malformed UTF-8 or invalid codepoint", m.full(spec), key, value))
			return "", false, fmt.Errorf("table %s: query error", printable(m.full(spec)))
		}
		if found && value == "" {
			m.warn("table " + m.full(spec) + ": key " + key + ": empty string result is not allowed")
			m.warn("table " + m.full(spec) + " should return NO RESULT in case of NOT FOUND")
		}
		if found {
			return value, true, nil
		}
	}
	return "", false, nil
}

// full puts the default type before a table's name that has none.
func (m *run) full(spec string) string {
	if strings.Contains(spec, ":") {
		return spec
	}
	return m.cfg.Str("default_database_type") + ":" + spec
}

// keys asks for every line of standard input, or for the parts of a message
// there, and stops at the first error.
func (m *run) keys() (found bool, err error) {
	out := bufio.NewWriter(m.env.Out)
	var failed error
	ask := func(key string) {
		if failed != nil {
			return
		}
		value, ok, err := m.lookup(key)
		if failed = err; ok {
			found = true
			m.entry(out, key, value)
		}
	}
	read := m.lines
	if m.parts != "" {
		read = m.message
	}
	err = read(ask)
	if failed != nil {
		err = failed
	}
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	return found, err
}

// entry prints one entry.
func (m *run) entry(out io.Writer, key, value string) {
	if m.json {
		fmt.Fprintf(out, "{%s: %s}\n", QuoteJSON(key), QuoteJSON(value))
		return
	}
	fmt.Fprintf(out, "%s\t%s\n", key, value)
}

// QuoteJSON makes a JSON string of bytes as Postfix does: what is not ASCII
// stays, even if it is not UTF-8.
func QuoteJSON(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		c := s[i]
		short := strings.IndexByte("\b\f\n\r\t", c)
		switch {
		case short >= 0:
			b.WriteString(`\` + "bfnrt"[short:short+1])
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(rune(c)))
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// longestKey bounds a line of standard input.
const longestKey = 1 << 24

func (m *run) lines(ask func(string)) error {
	sc := bufio.NewScanner(m.env.In)
	sc.Buffer(nil, longestKey)
	for sc.Scan() {
		ask(sc.Text())
	}
	return sc.Err()
}

// dump prints the entries of the tables.
func (m *run) dump() error {
	for _, spec := range m.tables {
		all, err := m.set.All(spec)
		if err != nil {
			return trouble(err)
		}
		for k, v := range all {
			m.entry(m.env.Out, k, v)
		}
	}
	return nil
}

// trouble says in Postfix's words what is wrong.
func trouble(err error) error {
	var path *fs.PathError
	var syntax *config.Error
	var unknown table.UnknownTypeError
	var open *table.OpenError
	switch {
	case errors.As(err, &path) && errors.Is(err, fs.ErrNotExist) && errors.As(err, &open) && strings.HasPrefix(open.Spec, "texthash:"):
		return fmt.Errorf("open database %s: No such file or directory", path.Path)
	case errors.As(err, &path) && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("open %s: No such file or directory", path.Path)
	case errors.As(err, &unknown):
		return errors.New("unsupported dictionary type: " + string(unknown))
	case errors.As(err, &syntax):
		return fmt.Errorf("%s, line %d: %s", syntax.Pos.File, syntax.Pos.Line, syntax.Text)
	case errors.As(err, &open):
		return open.Err
	}
	return err
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

// warner is a log handler that prints messages as a command does.
type warner struct{ warn func(string) }

func (warner) Enabled(context.Context, slog.Level) bool { return true }

func (w warner) Handle(_ context.Context, r slog.Record) error {
	w.warn(r.Message)
	return nil
}

func (w warner) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w warner) WithGroup(string) slog.Handler      { return w }
