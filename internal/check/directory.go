package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/site"
	"sekisho/internal/verify"
)

// Directory reads and compiles the configuration directory dir and returns all
// that there is to say about it, sorted. It reads files and tables and asks
// nothing of the network but host names in inet_interfaces. gateways are the
// machine's default gateways.
func Directory(dir string, c clock.Clock, gateways []netip.Addr) []Finding {
	tables := &tableLog{}
	s, err := site.Load(dir, site.Options{Clock: c, Log: slog.New(tables)})
	if err != nil {
		return Sort(unreadable(dir, err))
	}
	defer s.Close()
	found := append(oddities(s.Warnings), problems(s.Problems)...)
	found = append(found, tables.found...)
	found = append(found, names(s.Config)...)
	found = append(found, idle(s.Config)...)
	found = append(found, Services(filepath.Join(s.Config.Dir, "master.cf"), s.Config.Services)...)
	found = append(found, probes(s.Config)...)
	found = append(found, Networks(s.Config, gateways)...)
	found = append(found, Domains(s.Config)...)
	found = append(found, Classes(s.Config)...)
	found = append(found, Maps(s.Config)...)
	for _, v := range serving(s) {
		found = append(found, service(v)...)
	}
	return Sort(found)
}

// service looks at one smtpd service.
func service(v site.Service) []Finding {
	name, lists, sasl := v.Entry.Name, v.Program.Lists(), v.Config.Bool("smtpd_sasl_auth_enable")
	found := Order(name, lists, sasl)
	found = append(found, Lists(name, v.Config, lists)...)
	found = append(found, Relaying(name, lists, sasl, submission(v.Entry))...)
	found = append(found, DNSLists(name, lists)...)
	found = append(found, Tables(name, v.Config, v.Program)...)
	found = append(found, Policies(name, v.Config, v.Program, lists)...)
	found = append(found, Passwords(name, v.Config)...)
	return append(found, certificates(name, v.Config)...)
}

// submission reports whether a service is there for users (RFC 6409, RFC 8314).
func submission(e config.Service) bool {
	port := site.Port(e)
	return port == "587" || port == "465"
}

// serving are the services that clients can reach; main.cf alone if master.cf
// has none, so that its lists are looked at in any case.
func serving(s *site.Site) []site.Service {
	if len(s.Services) == 0 {
		return []site.Service{s.Main}
	}
	return s.Services
}

// unreadable makes findings of what keeps the files from being read.
func unreadable(dir string, err error) []Finding {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var found []Finding
		for _, e := range several.Unwrap() {
			found = append(found, unreadable(dir, e)...)
		}
		return found
	}
	f := Finding{Code: "SEK001", Severity: Error, Pos: config.Pos{File: dir}, What: err.Error(), Why: "the server does not start"}
	var at *config.Error
	var path *fs.PathError
	switch {
	case errors.As(err, &at):
		f.Pos, f.What = at.Pos, at.Text
	case errors.As(err, &path):
		f.Pos = config.Pos{File: path.Path}
		f.What = "cannot be read: " + path.Err.Error()
		f.Mend = "make the file, or name its folder with -c"
	}
	return []Finding{f}
}

func oddities(warnings []config.Warning) []Finding {
	var found []Finding
	for _, w := range warnings {
		found = append(found, Finding{Code: "SEK002", Severity: Warning, Pos: w.Pos, What: w.Text, Mend: "remove what does not count"})
	}
	return found
}

// problems makes findings of what the compiled site complains about.
func problems(ps []site.Problem) []Finding {
	var found []Finding
	named := make(map[string]bool) // tables that somebody names who wrote them down
	for _, p := range ps {
		named[p.Table] = named[p.Table] || p.Fatal
	}
	for _, p := range ps {
		if p.Table != "" && !p.Fatal && named[p.Table] {
			continue // the same again by way of a default
		}
		f := Finding{Code: "SEK010", Severity: Error, Pos: p.Pos, Service: p.Service, What: p.What, Mend: p.Mend}
		if p.Param != "" {
			f.What = p.Param + ": " + p.What
		}
		if p.Table != "" {
			f.Code = "SEK011"
		}
		f.Why = "the server does not start"
		if !p.Fatal {
			f.Severity, f.Why = Note, "it is a default; look-ups that need it fail"
		}
		found = append(found, f)
	}
	return found
}

// names finds names that are set or asked for in vain.
func names(cfg *config.Config) []Finding {
	var known []string
	for _, p := range config.Parameters() {
		known = append(known, p.Name)
	}
	known = append(known, config.TransportParameters(cfg.Services)...)
	var found []Finding
	usage := cfg.Usage()
	for _, w := range usage.Unused {
		f := Finding{Code: "SEK003", Severity: Warning, Pos: w.Pos, What: w.Text, Why: "no such parameter, and no value refers to it"}
		name, _, _ := strings.Cut(strings.TrimPrefix(w.Text, "unused parameter: "), "=")
		if near := config.Nearest(name, known); near != "" {
			f.Mend = "did you mean " + near + "?"
		}
		found = append(found, f)
	}
	for _, w := range usage.Undefined {
		found = append(found, Finding{Code: "SEK004", Severity: Warning, Pos: w.Pos, What: w.Text, Why: "a value refers to it, and it is empty"})
	}
	return found
}

// idle finds parameters that are set and heeded by nothing here, or not as
// Postfix heeds them.
func idle(cfg *config.Config) []Finding {
	var found []Finding
	add := func(name, service string, pos config.Pos) {
		switch p, _ := cfg.Parameter(name); p.State {
		case config.None:
			f := Finding{
				Code: "SEK005", Severity: Warning, Pos: pos, Service: service, What: name + " has no effect here",
				Why: "Sekisho does not have what it controls", Mend: "remove it, or do without what it asks for",
			}
			if installation(name) {
				f.Severity, f.Why, f.Mend = Note, "one program has no files to install or find", ""
			}
			found = append(found, f)
		case config.Differs:
			found = append(found, Finding{
				Code: "SEK008", Severity: Note, Pos: pos, Service: service, What: name + " is not quite Postfix's", Why: p.Why,
			})
		}
	}
	for _, n := range cfg.Names() {
		add(n, "", cfg.Pos(n))
	}
	for _, s := range cfg.Services {
		for _, o := range s.Overrides {
			add(o.Name, s.Name, o.Pos)
		}
	}
	return found
}

// installation reports whether a parameter tells where Postfix's parts are
// installed, or belongs to those that every package's main.cf sets.
func installation(name string) bool {
	return strings.HasSuffix(name, "_directory") || strings.HasSuffix(name, "_path") || name == "setgid_group" || name == "biff"
}

// Services looks at the entries of the master.cf at path: what is not served,
// and whether anything is.
func Services(path string, services []config.Service) []Finding {
	var found []Finding
	smtpd := false
	for _, s := range services {
		daemon := filepath.Base(s.Command)
		smtpd = smtpd || daemon == "smtpd"
		if !site.Runs(daemon) {
			found = append(found, Finding{
				Code: "SEK006", Severity: Note, Pos: s.Pos, What: "service " + s.Name + " is not served",
				Why: "Sekisho has no " + daemon, Mend: "remove the entry",
			})
		}
	}
	if !smtpd {
		found = append(found, Finding{
			Code: "SEK007", Severity: Error, Pos: config.Pos{File: path}, What: "no smtpd service",
			Why: "nothing would listen for mail", Mend: "add a line: smtp inet n - n - - smtpd",
		})
	}
	return found
}

// Passwords finds services that take passwords in the clear.
func Passwords(service string, cfg *config.Config) []Finding {
	if !cfg.Bool("smtpd_sasl_auth_enable") || cfg.Bool("smtpd_tls_auth_only") || cfg.Bool("smtpd_tls_wrappermode") {
		return nil
	}
	if cfg.Str("smtpd_tls_security_level") == "encrypt" || cfg.Bool("smtpd_enforce_tls") {
		return nil
	}
	for _, option := range cfg.Strings("smtpd_sasl_security_options") {
		if option == "noplaintext" {
			return nil
		}
	}
	return []Finding{{
		Code: "SEK302", Severity: Note, Pos: cfg.Pos("smtpd_sasl_auth_enable"), Service: service,
		What: "passwords may cross the network unencrypted", Why: "AUTH is offered before STARTTLS",
		Mend: "set smtpd_tls_auth_only = yes",
	}}
}

// files are the parameters that name files of certificates and keys.
var files = []string{
	"smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_eccert_file", "smtpd_tls_eckey_file", "smtpd_tls_chain_files",
	"smtpd_tls_CAfile", "smtp_tls_CAfile", "smtp_tls_cert_file", "smtp_tls_key_file",
}

// certificates finds files of certificates and keys that cannot be read.
func certificates(service string, cfg *config.Config) []Finding {
	var found []Finding
	for _, param := range files {
		for _, it := range cfg.List(param) {
			if it.Text == "none" {
				continue
			}
			f, err := os.Open(it.Text)
			if err == nil {
				f.Close()
				continue
			}
			pos := it.Pos
			if pos == (config.Pos{}) {
				continue // the key's default is the certificate, which has its own finding
			}
			found = append(found, Finding{
				Code: "SEK012", Severity: Error, Pos: pos, Service: service, What: param + ": " + err.Error(),
				Why: "without it there is no TLS", Mend: "name a readable file in PEM form",
			})
		}
	}
	return found
}

// probes finds a cache of address verification that cannot be where it is to be.
func probes(cfg *config.Config) []Finding {
	if _, err := verify.Path(cfg.Str("address_verify_map"), cfg.Str("default_database_type")); err != nil {
		return []Finding{{
			Code: "SEK014", Severity: Warning, Pos: cfg.Pos("address_verify_map"), What: "address_verify_map: " + err.Error(),
			Why: "what probes find out is kept in memory, and a restart forgets it", Mend: "name a file, as in btree:$data_directory/verify_cache",
		}}
	}
	return nil
}

// tableLog makes findings of what opening tables says about their lines.
type tableLog struct{ found []Finding }

// Enabled takes all there is.
func (*tableLog) Enabled(context.Context, slog.Level) bool { return true }

// Handle reads "PATH, line N: TEXT".
func (t *tableLog) Handle(_ context.Context, r slog.Record) error {
	f := Finding{Code: "SEK013", Severity: Warning, What: r.Message, Mend: "correct the line; it is left out"}
	if where, text, ok := strings.Cut(r.Message, ": "); ok {
		path, line, _ := strings.Cut(where, ", line ")
		f.Pos.File = path[strings.LastIndexByte(path, ' ')+1:]
		f.Pos.Line, _ = strconv.Atoi(line)
		f.What = text
	}
	t.found = append(t.found, f)
	return nil
}

// WithAttrs changes nothing: only messages count.
func (t *tableLog) WithAttrs([]slog.Attr) slog.Handler { return t }

// WithGroup changes nothing.
func (t *tableLog) WithGroup(string) slog.Handler { return t }

// Summary counts findings: "2 errors, 1 warning".
func Summary(found []Finding) string {
	counts := map[Severity]int{}
	for _, f := range found {
		counts[f.Severity]++
	}
	var parts []string
	for _, s := range []Severity{Error, Warning, Note} {
		switch n := counts[s]; n {
		case 0:
		case 1:
			parts = append(parts, "1 "+string(s))
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", n, s))
		}
	}
	if parts == nil {
		return "nothing to say"
	}
	return strings.Join(parts, ", ")
}
