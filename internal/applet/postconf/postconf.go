// Package postconf is the command postconf(1): it prints the parameters of
// main.cf and the services of master.cf as Postfix's prints them, from
// Sekisho's own reading of the files. It changes no file; the options that edit
// (-e, -X, -#) are missing.
package postconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/getopt"
	"sekisho/internal/config"
	"sekisho/internal/table"
)

// Env is what the command gets from the program.
type Env struct {
	Out io.Writer
	Err io.Writer
	// Config is the folder of main.cf if -c does not say; Given tells that the
	// environment named it (MAIL_CONFIG).
	Config string
	Given  bool
}

// Cmd takes its command line as it is, which comes after "--": it is read as getopt(3) reads that of
// Postfix's command.
type Cmd struct {
	Args []string `arg:"" optional:"" help:"[-dfFhHmMnpPx] [-c DIR] [-C CLASS] [-o NAME=VALUE] [NAME...]"`
}

// Run runs the command; the error is an exit.Status.
func (c *Cmd) Run(env *Env) error { return exit.Error(Run(env, c.Args)) }

// Run runs one command line and returns its exit status.
func Run(env *Env, args []string) int {
	p := &printer{env: env, dir: env.Config, given: env.Given}
	if err := p.run(args); err != nil {
		fmt.Fprintln(env.Err, "postconf: fatal: "+err.Error())
		return 1
	}
	return 0
}

const usage = "usage: postconf [-c config_dir] [-C class] [-d (parameter defaults)] [-f (fold lines)] " +
	"[-F (master.cf fields)] [-h (no names)] [-H (no values)] [-m (map types)] [-M (master.cf)] " +
	"[-n (non-default parameters)] [-o name=value (override parameter value)] [-p (main.cf, default)] " +
	"[-P (master.cf parameters)] [-x (expand parameter values)] [name...]"

// printer is one run of the command.
type printer struct {
	env       *Env
	dir       string
	given     bool // the folder was named, so config_directory counts as set
	mode      byte // 'p', 'M', 'F', 'P' or 'm'
	defaults  bool
	set       bool // -n
	expand    bool
	fold      bool
	hideName  bool
	hideValue bool
	class     string
	overrides []config.Override
	bad       error // in the overrides
	cfg       *config.Config
	usage     config.Usage
}

func (p *printer) run(args []string) error {
	options, operands, err := getopt.Parse(args, "c:C:dfFhHmMno:pPx")
	if err != nil {
		fmt.Fprintln(p.env.Err, "postconf: "+err.Error())
		return errors.New(usage)
	}
	for _, o := range options {
		if err := p.option(o); err != nil {
			return err
		}
	}
	if err := p.conflicts(); err != nil {
		return err
	}
	if p.mode == 'm' {
		return p.types()
	}
	if err := p.read(); err != nil {
		return err
	}
	if p.ofMaster() {
		if err := p.master(operands); err != nil {
			return err
		}
	} else {
		p.parameters(operands)
	}
	p.warn(p.unused())
	return nil
}

// ofMaster reports whether it is master.cf that is printed.
func (p *printer) ofMaster() bool { return p.mode == 'M' || p.mode == 'F' || p.mode == 'P' }

func (p *printer) option(o getopt.Option) error {
	switch o.Letter {
	case 'c':
		p.dir, p.given = o.Value, true
	case 'C':
		if !strings.Contains(" builtin service user all ", " "+o.Value+" ") {
			return fmt.Errorf("unknown -C option value %q in %q", o.Value, o.Value)
		}
		p.class = o.Value
	case 'd':
		p.defaults = true
	case 'f':
		p.fold = true
	case 'h':
		p.hideName = true
	case 'H':
		p.hideValue = true
	case 'n':
		p.set = true
	case 'x':
		p.expand = true
	case 'o':
		name, value, ok := strings.Cut(o.Value, "=")
		if !ok && p.bad == nil {
			p.bad = fmt.Errorf("invalid parameter override: %s: missing '=' after attribute name", o.Value)
		}
		p.overrides = append(p.overrides, config.Override{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	default:
		if p.mode != 0 && p.mode != o.Letter {
			return fmt.Errorf("specify one of -%c -%c", min(p.mode, o.Letter), max(p.mode, o.Letter))
		}
		p.mode = o.Letter
	}
	return nil
}

func (p *printer) conflicts() error {
	switch {
	case p.hideName && p.hideValue:
		return errors.New("specify one of -h -H")
	case p.defaults && p.set:
		return errors.New("specify one of -d -n")
	case p.defaults && len(p.overrides) > 0:
		return errors.New("specify one of -d -o")
	case !p.ofMaster():
		return nil
	}
	for letter, given := range map[byte]bool{'d': p.defaults, 'n': p.set, 'h': p.hideName && p.mode == 'M', 'H': p.hideValue && p.mode == 'M'} {
		if given {
			return fmt.Errorf("with option -%c, do not specify -%c", p.mode, letter)
		}
	}
	return nil
}

// read reads what the mode needs: a missing master.cf matters only to those who
// ask for it.
func (p *printer) read() error {
	p.cfg = config.Defaults()
	if !p.defaults {
		cfg, warnings, err := config.ReadMain(p.dir)
		p.warn(warnings)
		if err != nil {
			return p.trouble(err)
		}
		if p.bad != nil {
			return p.bad
		}
		p.cfg = cfg.With(p.overridden())
	}
	services, warnings, err := config.ReadMaster(p.dir)
	p.warn(warnings)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case missing && !p.ofMaster():
		fmt.Fprintln(p.env.Err, "postconf: warning: "+p.trouble(err).Error())
	case err != nil:
		return p.trouble(err)
	}
	p.cfg.Services = services
	if !p.defaults {
		p.usage = p.cfg.Usage()
		p.warn(p.usage.Undefined)
	}
	return nil
}

// unused returns the names that nobody uses; those of main.cf are of no
// interest to who looks at master.cf.
func (p *printer) unused() []config.Warning {
	return slices.DeleteFunc(slices.Clone(p.usage.Unused), func(w config.Warning) bool {
		return p.ofMaster() && filepath.Base(w.Pos.File) == "main.cf"
	})
}

// overridden are the -o, and the folder if somebody named it.
func (p *printer) overridden() []config.Override {
	if !p.given {
		return p.overrides
	}
	return append([]config.Override{{Name: "config_directory", Value: p.dir}}, p.overrides...)
}

// trouble says in Postfix's words what is wrong.
func (p *printer) trouble(err error) error {
	var path *fs.PathError
	var syntax *config.Error
	switch {
	case errors.As(err, &path):
		why := path.Err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			why = "No such file or directory"
		}
		return fmt.Errorf("open %s: %s", path.Path, why)
	case errors.As(err, &syntax):
		return fmt.Errorf("%s, line %d: %s", syntax.Pos.File, syntax.Pos.Line, syntax.Text)
	}
	return err
}

func (p *printer) warn(ws []config.Warning) {
	for _, w := range ws {
		where := w.Pos.File
		if w.Pos.Line > 0 && !strings.HasPrefix(w.Text, "unused parameter") {
			where = fmt.Sprintf("%s, line %d", where, w.Pos.Line)
		}
		fmt.Fprintf(p.env.Err, "postconf: warning: %s: %s\n", where, w.Text)
	}
}

// types lists the table types, one a line.
func (p *printer) types() error {
	_, err := fmt.Fprintln(p.env.Out, strings.Join(table.Types(), "\n"))
	return err
}

// Folder returns the configuration folder that the environment names, or
// Postfix's own.
func Folder() (dir string, given bool) {
	if dir = os.Getenv("MAIL_CONFIG"); dir != "" {
		return dir, true
	}
	return "/etc/postfix", false
}
