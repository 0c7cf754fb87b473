package master

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/queue/control"
	"sekisho/internal/sandbox"
)

// shutIn puts the process into a sandbox as sekisho_sandbox says, and logs what
// is in force.
func (s *server) shutIn(cfg *config.Config) error {
	if s.ShutIn == nil {
		return nil
	}
	switch v := cfg.Str("sekisho_sandbox"); v {
	case "no":
		s.Log.Info("no sandbox: sekisho_sandbox = no")
		return nil
	case "auto":
		if why := programs(cfg); why != "" {
			s.Log.Info("no sandbox: " + why)
			return nil
		}
	case "yes":
	default:
		return fmt.Errorf("%s: sekisho_sandbox: unknown value %q; give auto, yes or no", cfg.Pos("sekisho_sandbox"), v)
	}
	paths := reach(cfg)
	inForce, err := s.ShutIn(paths)
	if err != nil {
		return fmt.Errorf("%s: sekisho_sandbox: %w", cfg.Pos("sekisho_sandbox"), err)
	}
	s.Log.Info(inForce)
	s.within = &paths
	return nil
}

// beyond tells which files of the configuration as it is now the sandbox keeps
// away.
func (s *server) beyond() error {
	if s.within == nil {
		return nil
	}
	cfg, _, err := config.Load(s.dir)
	if err != nil {
		return nil // whoever loads it next says so
	}
	far := s.within.Beyond(reach(cfg))
	if len(far) == 0 {
		return nil
	}
	return fmt.Errorf("the sandbox of the running server does not reach %s; start the server anew", strings.Join(far, ", "))
}

// programs tells why deliveries may start programs or write into the homes of
// users, which the sandbox would not let them do; "" when they do not. Filters
// that only a table names are not seen.
func programs(cfg *config.Config) string {
	for _, e := range cfg.Services {
		daemon := filepath.Base(e.Command)
		if daemon != "pipe" && daemon != "local" {
			continue
		}
		if param := leads(cfg, e.Name); param != "" {
			return fmt.Sprintf("%s leads to service %s, which may run programs (%s); with sekisho_sandbox = yes they run inside it", param, e.Name, e.Pos)
		}
		if param := tables(cfg); param != "" && daemon == "pipe" {
			return fmt.Sprintf("%s can lead to service %s, which runs programs; take it out if it is not used (%s)", param, e.Name, e.Pos)
		}
	}
	return ""
}

// leads returns the parameter that names a transport for mail that may come.
func leads(cfg *config.Config, transport string) string {
	views := []*config.Config{cfg}
	for _, e := range cfg.Services {
		views = append(views, cfg.Service(e))
	}
	for _, t := range []struct{ param, of string }{
		{"local_transport", "mydestination"}, {"virtual_transport", "virtual_mailbox_domains"}, {"relay_transport", "relay_domains"},
		{"default_transport", ""}, {"content_filter", ""}, {"mailbox_transport", "mydestination"}, {"fallback_transport", "mydestination"},
	} {
		for _, v := range views {
			name, _, _ := strings.Cut(v.Str(t.param), ":")
			if name == transport && (t.of == "" || v.Str(t.of) != "") {
				return t.param
			}
		}
	}
	return ""
}

// tables returns a parameter whose tables can name any transport.
func tables(cfg *config.Config) string {
	for _, param := range []string{"transport_maps", "sender_dependent_default_transport_maps", "mailbox_transport_maps", "fallback_transport_maps"} {
		if cfg.Str(param) != "" {
			return param
		}
	}
	return ""
}

// systemFiles are what the Go runtime, its resolver and its TLS library read.
var systemFiles = []string{
	"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/services", "/etc/protocols",
	"/etc/localtime", "/usr/share/zoneinfo", "/etc/mailname", "/dev/urandom",
	"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/pki/tls", "/etc/pki/ca-trust", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/usr/lib/sasl2", "/etc/sasl2", "/etc/sasldb2",
}

// foreign reports whether a parameter names programs and folders that are of no
// use here, or that reach treats by itself.
func foreign(param string) bool {
	return strings.HasSuffix(param, "_directory") || strings.HasSuffix(param, "_path") && !strings.Contains(param, "_sasl_")
}

// absolute finds what may be the name of a file in a value.
var absolute = regexp.MustCompile(`/[^\s,;:"'{}()<>=]+`)

// reach is what the process needs of the file system with a configuration: to
// write its spool, its state and the mailboxes; to read its own folder and every
// file that is named in it.
func reach(cfg *config.Config) sandbox.Paths {
	write := []string{"/dev/null", control.Dir(cfg), cfg.Str("data_directory")}
	read := append(slices.Clone(systemFiles), links(cfg.Dir)...)
	views := []*config.Config{cfg}
	for _, e := range cfg.Services {
		views = append(views, cfg.Service(e))
	}
	for _, v := range views {
		for _, param := range []string{"virtual_mailbox_base", "mail_spool_directory"} {
			if v.Set(param) && v.Str(param) != "" {
				write = append(write, v.Str(param))
			}
		}
		for _, param := range []string{"maillog_file", "sekisho_directory", "sekisho_mta_sts", "sekisho_tlsrpt", "address_verify_map"} {
			for _, file := range absolute.FindAllString(v.Str(param), -1) {
				if file != "/dev/stdout" {
					write = append(write, filepath.Dir(file))
				}
			}
		}
		read = append(read, named(v)...)
	}
	return sandbox.Paths{Read: unique(read), Write: unique(write)}
}

// named are the files that parameters name, and those that the files of
// databases name.
func named(cfg *config.Config) (paths []string) {
	names := append(cfg.Names(), "alias_maps", "cyrus_sasl_config_path")
	for _, e := range cfg.Services {
		for _, o := range e.Overrides {
			names = append(names, o.Name)
		}
	}
	for _, name := range names {
		if foreign(name) {
			continue
		}
		value := cfg.Str(name)
		for _, file := range absolute.FindAllString(value, -1) {
			paths = append(paths, around(file)...)
		}
		for _, file := range database.FindAllStringSubmatch(value, -1) {
			text, err := os.ReadFile(file[1])
			if err != nil {
				continue // whoever opens it says so
			}
			for _, inner := range absolute.FindAllString(string(text), -1) {
				paths = append(paths, around(inner)...)
			}
		}
	}
	return paths
}

// database finds tables whose file says where the data is.
var database = regexp.MustCompile(`(?:mysql|pgsql|ldap|sqlite|socketmap):(/[^\s,;:"'{}()<>=]+)`)

// common are folders of many owners: of a file there only the file is needed.
var common = []string{"/", "/etc", "/usr", "/var", "/home", "/root", "/tmp", "/run", "/opt", "/srv", "/var/lib", "/usr/lib", "/usr/share", "/var/run", "/dev", "/proc", "/sys"}

// around is a file with what replaces it when it changes: the other files of its
// folder, also where it is a symbolic link to. Nothing when it does not exist.
func around(file string) (paths []string) {
	file = filepath.Clean(file)
	if strings.HasPrefix(file, "/dev/") || strings.HasPrefix(file, "/proc/") {
		return nil // open already, such as /dev/stdout
	}
	at := []string{file}
	if target, err := filepath.EvalSymlinks(file); err == nil && target != file {
		at = append(at, target)
	}
	for _, f := range at {
		info, err := os.Stat(f)
		switch {
		case err != nil || slices.Contains(common, f):
		case info.IsDir() || slices.Contains(common, filepath.Dir(f)):
			paths = append(paths, f)
		default:
			paths = append(paths, filepath.Dir(f))
		}
	}
	return paths
}

// links is a folder with the targets of the symbolic links in it.
func links(dir string) []string {
	paths := []string{dir}
	// What cannot be read cannot be used either.
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink != 0 {
			paths = append(paths, around(path)...)
		}
		return nil
	})
	return paths
}

// unique are the paths once each, without the empty one.
func unique(paths []string) []string {
	slices.Sort(paths)
	return slices.DeleteFunc(slices.Compact(paths), func(p string) bool { return p == "" })
}
