package site

import (
	"errors"
	"path/filepath"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/matchlist"
	"sekisho/internal/restrict"
	"sekisho/internal/rewrite"
	"sekisho/internal/table"
)

// compiler builds a Site and collects its problems, each once.
type compiler struct {
	*Site
	o    Options
	seen map[string]bool
}

func (c *compiler) problem(p Problem) {
	if key := p.String(); !c.seen[key] {
		c.seen[key] = true
		c.Problems = append(c.Problems, p)
	}
}

// errors splits joined errors, which carry their places, into problems.
func (c *compiler) errors(err error, service string) {
	if err == nil {
		return
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range j.Unwrap() {
			c.errors(e, service)
		}
		return
	}
	pos, text := splitPos(err.Error())
	c.problem(Problem{Pos: pos, What: text, Service: service, Fatal: true})
}

// view is the configuration as the service with that command sees it; main.cf
// alone when master.cf has none.
func (c *compiler) view(command string) *config.Config {
	for _, e := range c.Config.Services {
		if filepath.Base(e.Command) == command {
			return c.Config.Service(e)
		}
	}
	return c.Config
}

func (c *compiler) world() rewrite.World {
	return rewrite.World{OwnAddresses: c.Own, Partial: c.partial, ReadFile: c.readFile}
}

func (c *compiler) readFile(name string) ([]byte, error) { return c.o.ReadFile(name) }

func (c *compiler) partial(spec string) bool { return table.Partial(spec) }

func (c *compiler) resolver(cfg *config.Config) *rewrite.Resolver {
	r, err := rewrite.Compile(cfg, c.world())
	c.errors(err, "")
	for _, param := range []string{"mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains"} {
		l, err := rewrite.MatchList(cfg, c.world(), param)
		if err == nil {
			c.open(l.Tables(), param, "")
		}
	}
	return r
}

func (c *compiler) service(e config.Service) Service {
	v := Service{Entry: e, Config: c.Config}
	alone := ""
	if len(e.Overrides) > 0 {
		v.Config, alone = c.Config.Service(e), e.Name
	}
	v.Mynetworks = c.mynetworks(v.Config, alone)
	var bad []restrict.Problem
	v.Program, bad = restrict.Compile(v.Config, restrict.World{
		Resolver: c.Resolver, Mynetworks: v.Mynetworks, BackupNetworks: c.backupNetworks(v.Config, alone),
		OwnAddresses: c.Own, Partial: c.partial,
	})
	// With services to serve, what main.cf alone says need not be able to stand.
	if e.Name == "" && c.servesAny() {
		return v
	}
	for _, p := range bad {
		c.problem(Problem{Pos: p.Pos, Param: p.Param, What: p.What, Mend: p.Mend, Service: alone, Fatal: true, Runtime: p.Runtime})
	}
	for spec, pos := range v.Program.Tables() {
		c.open([]config.Item{{Text: spec, Pos: pos}}, "", alone)
	}
	return v
}

func (c *compiler) servesAny() bool {
	for _, e := range c.Config.Services {
		if IsSMTPD(e) {
			return true
		}
	}
	return false
}

func (c *compiler) mynetworks(cfg *config.Config, service string) *matchlist.List {
	return c.networks(cfg, "mynetworks", "until then every client gets 451", service)
}

// backupNetworks reads permit_mx_backup_networks; nil means that it is empty.
func (c *compiler) backupNetworks(cfg *config.Config, service string) *matchlist.List {
	const param = "permit_mx_backup_networks"
	if len(cfg.List(param)) == 0 {
		return nil
	}
	return c.networks(cfg, param, "until then permit_mx_backup permits nobody", service)
}

// networks reads a match list of networks. consequence is what its problems
// lead to.
func (c *compiler) networks(cfg *config.Config, param, consequence, service string) *matchlist.List {
	l, err := rewrite.MatchList(cfg, c.world(), param)
	if err != nil {
		c.errors(err, service)
		l, _ = matchlist.Parse(param, nil, matchlist.Options{})
	}
	for _, text := range l.Problems() {
		pos, what := splitPos(text)
		c.problem(Problem{Pos: pos, What: what, Mend: consequence, Service: service, Fatal: true, Runtime: true})
	}
	c.open(l.Tables(), param, service)
	return l
}

// tableParams are the parameters whose tables the server looks up, besides
// those of restriction lists and match lists.
var tableParams = []string{
	"canonical_maps", "sender_canonical_maps", "recipient_canonical_maps",
	"virtual_alias_maps", "virtual_mailbox_maps", "virtual_uid_maps", "virtual_gid_maps",
	"local_recipient_maps", "relay_recipient_maps", "alias_maps",
	"transport_maps", "relocated_maps",
	"sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps",
	"address_verify_transport_maps",
	"address_verify_sender_dependent_relayhost_maps", "address_verify_sender_dependent_default_transport_maps",
	"sender_bcc_maps", "recipient_bcc_maps",
	"header_checks", "mime_header_checks", "nested_header_checks", "body_checks",
	"smtpd_sender_login_maps", "smtpd_command_filter", "rbl_reply_maps", "smtpd_dns_reply_filter",
	"smtpd_discard_ehlo_keyword_address_maps", "tls_server_sni_maps",
	"relay_clientcerts", "smtpd_reject_footer_maps", "smtpd_reject_filter_maps",
	"mailbox_command_maps", "mailbox_transport_maps", "fallback_transport_maps", "sekisho_mailbox_quota_maps",
	"pipe_delivery_status_filter", "local_delivery_status_filter", "virtual_delivery_status_filter",
}

func (c *compiler) tables(cfg *config.Config, service string) {
	for _, param := range tableParams {
		items := cfg.List(param)
		for i := range items {
			items[i].Pos = orPos(items[i].Pos, cfg.Pos(param))
		}
		c.open(items, param, service)
	}
}

func orPos(a, b config.Pos) config.Pos {
	if a == (config.Pos{}) {
		return b
	}
	return a
}

// open tries the tables. One that a default names may be missing: it fails the
// lookups that need it, and most sites need none. What is wrong with a line of
// a table's file is a problem at that line.
func (c *compiler) open(items []config.Item, param, service string) {
	for _, it := range items {
		for _, err := range split(c.Tables.Open(it.Text)) {
			p := Problem{
				Pos: it.Pos, Param: param, What: err.Error(), Mend: c.mend(it.Text), Table: it.Text, Service: service,
				Fatal: it.Pos != config.Pos{}, Runtime: true,
			}
			var line *config.Error
			if errors.As(err, &line) {
				p.Pos, p.What = line.Pos, "table "+it.Text+": "+line.Text
			}
			c.problem(p)
		}
	}
}

// split returns the errors that were joined.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

func (c *compiler) mend(spec string) string {
	typ, name := table.Split(spec, c.Config.Str("default_database_type"))
	for _, t := range table.Types() {
		if t == typ {
			return ""
		}
	}
	if s := config.Nearest(typ, table.Types()); s != "" {
		return "did you mean " + s + ":" + name + "?"
	}
	return ""
}

// splitPos takes "FILE:LINE: " off the front of a message.
func splitPos(s string) (config.Pos, string) {
	head, text, ok := strings.Cut(s, ": ")
	if !ok {
		return config.Pos{}, s
	}
	i := strings.LastIndexByte(head, ':')
	if i < 0 {
		return config.Pos{}, strings.TrimPrefix(s, "default: ")
	}
	line := 0
	for _, d := range head[i+1:] {
		if d < '0' || d > '9' {
			return config.Pos{}, s
		}
		line = line*10 + int(d-'0')
	}
	return config.Pos{File: head[:i], Line: line}, text
}
