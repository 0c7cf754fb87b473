package check

import (
	"os"
	"path/filepath"

	"sekisho/internal/config"
	"sekisho/internal/restrict"
)

// Policies finds policy services on this machine that nobody offers: their
// socket is not there.
func Policies(service string, cfg *config.Config, p *restrict.Program, lists []restrict.List) []Finding {
	o := &order{service: service}
	services := p.PolicyServices()
	for _, l := range lists {
		for e := range all(l.Entries) {
			s, ok := services[e.Arg]
			if !ok || e.Name != "check_policy_service" || s.Transport == "inet" {
				continue
			}
			path := s.Endpoint
			if !filepath.IsAbs(path) {
				path = filepath.Join(cfg.Str("queue_directory"), path)
			}
			if _, err := os.Stat(path); err == nil || internal(cfg, s.Endpoint) {
				continue
			}
			o.add(Finding{
				Code: "SEK601", Severity: Warning, Pos: e.Pos,
				What: l.Param + ": " + label(e) + ": no socket " + path,
				Why:  "while nobody answers there, clients get " + s.DefaultAction,
				Mend: "start the policy service, or correct the path",
			})
		}
	}
	return o.found
}

// internal reports whether a service of master.cf makes the socket.
func internal(cfg *config.Config, endpoint string) bool {
	for _, s := range cfg.Services {
		if endpoint == "private/"+s.Name || endpoint == "public/"+s.Name {
			return true
		}
	}
	return false
}
