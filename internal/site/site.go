package site

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/dns"
	"sekisho/internal/matchlist"
	"sekisho/internal/restrict"
	"sekisho/internal/rewrite"
	"sekisho/internal/table"
)

// Options are what Load needs besides the directory.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger // for tables that change or fail later
	// ReadFile reads the files that match lists name; nil means os.ReadFile.
	ReadFile func(name string) ([]byte, error)
}

// Site is a compiled configuration. It never changes; its tables follow their
// files. It is safe for concurrent use.
type Site struct {
	Config   *config.Config
	Warnings []config.Warning // oddities that Postfix accepts
	Problems []Problem        // what is wrong, in the order of the files
	Tables   *table.Set
	// Own are the addresses of inet_interfaces and proxy_interfaces.
	Own []string
	// Resolver resolves addresses as the trivial-rewrite service does.
	Resolver *rewrite.Resolver
	// Probes is the same for the recipients of address probes.
	Probes *rewrite.Resolver
	// Main is main.cf alone, without any service's -o.
	Main Service
	// Services are the smtpd services of master.cf, in its order.
	Services []Service
}

// Service is one smtpd service.
type Service struct {
	Entry      config.Service // of master.cf; zero for Site.Main
	Config     *config.Config // with the service's -o
	Mynetworks *matchlist.List
	Program    *restrict.Program
}

// Problem is something wrong with the configuration.
type Problem struct {
	Pos   config.Pos
	Param string
	What  string
	Mend  string // what to do; empty when it is plain
	// Table is the table that cannot be opened, when that is the problem.
	Table string
	// Service is the master.cf entry that alone has the problem; empty for all.
	Service string
	// Fatal: a server must not start with it. Otherwise it starts, and fails
	// only what needs the broken part.
	Fatal bool
	// Runtime: Postfix serves in spite of it, and fails what needs the broken
	// part. So does a server with sekisho_strict_configuration = no.
	Runtime bool
}

// String returns "FILE:LINE: PARAM: WHAT (MEND)".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Pos.String())
	if p.Param != "" {
		b.WriteString(": " + p.Param)
	}
	b.WriteString(": " + p.What)
	if p.Mend != "" {
		b.WriteString(" (" + p.Mend + ")")
	}
	return b.String()
}

// Load reads and compiles the configuration directory dir. The error is for
// files that cannot be read at all or hold values of a wrong type; what is
// wrong beyond that is in the site's Problems, all of it.
func Load(dir string, o Options) (*Site, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	cfg, warnings, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	return Compile(cfg, warnings, o), nil
}

// Compile is Load for a configuration that has been read already.
func Compile(cfg *config.Config, warnings []config.Warning, o Options) *Site {
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	s := &Site{Config: cfg, Warnings: warnings, Tables: newTables(cfg, o)}
	c := &compiler{Site: s, o: o, seen: make(map[string]bool)}
	c.own()
	s.Resolver = c.resolver(c.view("trivial-rewrite"))
	s.Probes, _ = rewrite.CompileProbes(c.view("trivial-rewrite"), c.world()) // its errors are those of Resolver
	s.Main = c.service(config.Service{})
	for _, e := range cfg.Services {
		if IsSMTPD(e) {
			s.Services = append(s.Services, c.service(e))
		}
	}
	c.tables(cfg, "")
	for _, e := range cfg.Services {
		if len(e.Overrides) > 0 {
			c.tables(cfg.Service(e), e.Name)
		}
	}
	return s
}

// IsSMTPD reports whether a master.cf entry is an SMTP server.
func IsSMTPD(e config.Service) bool { return filepath.Base(e.Command) == "smtpd" }

// Err joins the fatal problems, one line each, or is nil.
func (s *Site) Err() error {
	var errs []error
	strict := s.Config.Bool("sekisho_strict_configuration")
	for _, p := range s.Problems {
		if p.Fatal && (strict || !p.Runtime) {
			errs = append(errs, errors.New(p.String()))
		}
	}
	return errors.Join(errs...)
}

// Close closes the tables.
func (s *Site) Close() error { return s.Tables.Close() }

// Service returns the smtpd service with that name or that TCP port in
// master.cf ("smtp" is found by 25 too, "submission" by 587).
func (s *Site) Service(name string) (Service, bool) {
	for _, v := range s.Services {
		if v.Entry.Name == name || Port(v.Entry) == name {
			return v, true
		}
	}
	return Service{}, false
}

// Port returns the port of an inet service as digits, whatever master.cf calls
// it; empty when the name is not known.
func Port(e config.Service) string {
	name := e.Name[strings.LastIndexByte(e.Name, ':')+1:]
	switch name {
	case "smtp":
		return "25"
	case "submission":
		return "587"
	case "smtps", "submissions", "ssmtp", "urd":
		return "465"
	}
	if strings.Trim(name, "0123456789") == "" {
		return name
	}
	return ""
}

// DNS returns the resolver that the configuration asks for: the servers of
// sekisho_dns_servers, or those of resolv.conf.
func (s *Site) DNS(o Options) (*dns.Resolver, error) { return openDNS(s.Config, o) }

func openDNS(cfg *config.Config, o Options) (*dns.Resolver, error) {
	r, err := dns.New(dns.Options{Servers: cfg.Strings("sekisho_dns_servers"), Clock: o.Clock, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("%s: sekisho_dns_servers: %w", cfg.Pos("sekisho_dns_servers"), err)
	}
	return r, nil
}

func newTables(cfg *config.Config, o Options) *table.Set {
	return table.NewSet(table.Options{
		Clock:       o.Clock,
		Log:         o.Log,
		Dir:         cfg.Dir,
		DefaultType: cfg.Str("default_database_type"),
		Aliases:     append(cfg.Strings("alias_maps"), cfg.Strings("alias_database")...),
		Env:         os.LookupEnv,
		Param:       cfg.Str,
		SocketDir:   cfg.Str("queue_directory"),
		Tolerant:    !cfg.Bool("sekisho_strict_configuration"),
	})
}
