package master

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"sekisho/internal/config"
	"sekisho/internal/site"
)

// strangers tells of the services in master.cf that are not served as they are
// written, one line each.
func strangers(cfg *config.Config) []string {
	var out []string
	for _, e := range cfg.Services {
		daemon := filepath.Base(e.Command)
		switch {
		case isPostscreen(e):
			out = append(out, fmt.Sprintf("%s: service %s: Sekisho has no postscreen; clients go straight to the smtpd service of type pass", e.Pos, e.Name))
		case site.IsSMTPD(e) && e.Type != "inet" && e.Type != "pass":
			out = append(out, fmt.Sprintf("%s: service %s (%s) is not served: smtpd is for inet services only", e.Pos, e.Name, e.Type))
		case !site.Runs(daemon):
			out = append(out, fmt.Sprintf("%s: service %s is not served: Sekisho has no %s", e.Pos, e.Name, daemon))
		}
	}
	return out
}

// isPostscreen reports whether a service is the screen before smtpd.
func isPostscreen(e config.Service) bool {
	return e.Type == "inet" && filepath.Base(e.Command) == "postscreen"
}

// behind returns the smtpd service that answers at an inet service of
// master.cf: its own, or for postscreen the one of type pass.
func behind(s *site.Site, e config.Service) (site.Service, bool) {
	for _, v := range s.Services {
		if e.Type == "inet" && v.Entry.Type == "inet" && v.Entry.Name == e.Name || isPostscreen(e) && v.Entry.Type == "pass" {
			return v, true
		}
	}
	return site.Service{}, false
}

// slots returns the session limit that maxproc sets. Without one there is no
// limit: a session here costs no process, and Postfix's default of 100 would
// only make the next client wait.
func slots(e config.Service) chan struct{} {
	n, err := strconv.Atoi(e.MaxProc)
	if err != nil || n <= 0 {
		return nil
	}
	return make(chan struct{}, n)
}

// listen finds the services that listen, and where.
func (g *graph) listen(s *site.Site) error {
	var errs []error
	taken := make(map[string]*service)
	for _, entry := range g.config.Services {
		v, ok := behind(s, entry)
		if !ok {
			continue
		}
		svc := &service{graph: g, site: v, name: entry.Name, pos: entry.Pos, slots: slots(v.Entry)}
		var err error
		if svc.endpoints, err = endpoints(v.Config, entry); err != nil {
			errs = append(errs, err)
		}
		for _, e := range svc.endpoints {
			if other := taken[e.addr]; other != nil {
				errs = append(errs, fmt.Errorf("%s: service %s: %s belongs to service %s (%s) already", svc.pos, svc.name, e, other.name, other.pos))
				continue
			}
			taken[e.addr] = svc
		}
		g.services = append(g.services, svc)
	}
	return errors.Join(errs...)
}
