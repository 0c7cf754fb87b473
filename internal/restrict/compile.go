package restrict

import (
	"errors"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/matchlist"
	"sekisho/internal/rewrite"
)

// Program is a compiled configuration: the restriction lists and what their
// evaluation needs. It never changes and is safe for concurrent use.
type Program struct {
	lists          [listCount][]item
	classes        map[string][]item
	classNames     map[string]bool
	set            settings
	resolver       *rewrite.Resolver
	mynetworks     *matchlist.List
	backupNetworks *matchlist.List // permit_mx_backup_networks; nil: any
	partial        func(table string) bool
	policies       map[string]PolicyService

	// What Postfix does without being told, as it stands in a trace.
	unlistedSenderItem, unlistedRecipientItem item
}

// Problem is something wrong in a restriction list, with the mend.
type Problem struct {
	Pos   config.Pos
	Param string
	What  string
	Mend  string
	// Runtime: Postfix finds out when the evaluation gets there, and serves until
	// then.
	Runtime bool
}

// String returns "FILE:LINE: PARAM: WHAT (MEND)".
func (p Problem) String() string {
	s := p.Pos.String() + ": " + p.Param + ": " + p.What
	if p.Mend != "" {
		s += " (" + p.Mend + ")"
	}
	return s
}

// World is what Compile needs to know besides the configuration.
type World struct {
	Resolver   *rewrite.Resolver
	Mynetworks *matchlist.List
	// BackupNetworks is permit_mx_backup_networks, nil when it is empty.
	BackupNetworks *matchlist.List
	OwnAddresses   []string // of inet_interfaces and proxy_interfaces
	// Partial says of a table, by its type, whether it is looked up with
	// partial keys.
	Partial func(table string) bool
}

// Compile reads the restriction lists of cfg. The program can be evaluated
// also with problems: it then answers as Postfix does, with a 451 when the
// evaluation gets there.
func Compile(cfg *config.Config, w World) (*Program, []Problem) {
	p := &Program{
		classes:        make(map[string][]item),
		classNames:     make(map[string]bool),
		set:            readSettings(cfg),
		resolver:       w.Resolver,
		mynetworks:     w.Mynetworks,
		backupNetworks: w.BackupNetworks,
		partial:        w.Partial,
		policies:       make(map[string]PolicyService),
	}
	p.set.ownAddresses = w.OwnAddresses
	if p.set.verifySender != "<>" {
		p.set.verifySender = w.Resolver.Rewrite(p.set.verifySender)
	}
	p.unlistedSenderItem = implied(cfg, "smtpd_reject_unlisted_sender")
	p.unlistedRecipientItem = implied(cfg, "smtpd_reject_unlisted_recipient")
	for _, c := range cfg.List("smtpd_restriction_classes") {
		p.classNames[c.Text] = true
	}
	p.predefine()
	problems := append(badActions(cfg), p.readLogPermits(cfg)...)
	for id, param := range listParams {
		list, bad := p.parseParam(cfg, param, listID(id))
		p.lists[id] = list
		problems = append(problems, bad...)
	}
	for _, c := range cfg.List("smtpd_restriction_classes") {
		list, bad := p.parseParam(cfg, c.Text, listCount)
		p.classes[c.Text] = list
		problems = append(problems, bad...)
	}
	return p, append(problems, p.safety(cfg)...)
}

func implied(cfg *config.Config, param string) item {
	return item{text: param, pos: cfg.Pos(param)}
}

// readLogPermits reads the list of permits to be logged, if there is one.
func (p *Program) readLogPermits(cfg *config.Config) []Problem {
	const param = "smtpd_log_access_permit_actions"
	items := cfg.List(param)
	if len(items) == 0 {
		return nil
	}
	noFiles := func(string) ([]byte, error) { return nil, errors.New("write the names themselves") }
	l, err := matchlist.Parse(param, items, matchlist.Options{Partial: p.partial, ReadFile: noFiles})
	if err != nil {
		return []Problem{{Pos: cfg.Pos(param), Param: param, What: err.Error()}}
	}
	p.set.logPermits = l
	return nil
}

// predefine makes the one restriction class that Postfix brings along.
func (p *Program) predefine() {
	p.classNames[loginMismatch] = true
	ps := parser{classes: p.classNames, list: listCount, words: []word{
		{text: "reject_authenticated_sender_login_mismatch"},
		{text: "reject_unauthenticated_sender_login_mismatch"},
	}}
	p.classes[loginMismatch] = ps.parse()
}

const loginMismatch = "reject_sender_login_mismatch"

// badActions finds *_tempfail_action parameters with a value they cannot have.
func badActions(cfg *config.Config) []Problem {
	var out []Problem
	for _, param := range []string{
		"unknown_address_tempfail_action", "unknown_helo_hostname_tempfail_action",
		"unverified_sender_tempfail_action", "unverified_recipient_tempfail_action",
	} {
		if v := cfg.Str(param); v != "defer" && v != "defer_if_permit" {
			pos := cfg.Pos(param)
			if pos == (config.Pos{}) {
				pos = cfg.Pos("reject_tempfail_action")
			}
			out = append(out, Problem{
				Pos: pos, Param: param, What: "bad configuration: " + param + " = " + v, Mend: "use defer_if_permit or defer",
			})
		}
	}
	return out
}

func (p *Program) parseParam(cfg *config.Config, param string, id listID) ([]item, []Problem) {
	var words []word
	for _, w := range cfg.List(param) {
		words = append(words, word{w.Text, w.Pos})
	}
	ps := parser{partial: p.partial, classes: p.classNames, words: words, list: id}
	list := ps.parse()
	var problems []Problem
	for _, it := range list {
		problems = append(problems, p.policyProblem(cfg, it, param)...)
		if it.op != opBroken {
			continue
		}
		problems = append(problems, Problem{
			Pos: it.pos, Param: param, What: orSelf(it.problem, it.arg), Mend: p.mend(it), Runtime: true,
		})
	}
	return list, problems
}

// mend suggests what an item that cannot be evaluated may have meant.
func (p *Program) mend(it item) string {
	if r, known := Describe(it.text); known {
		return "write " + it.text + " " + r.Argument.Form()
	}
	candidates := Names()
	for c := range p.classNames {
		candidates = append(candidates, c)
	}
	s := config.Nearest(it.text, candidates)
	if s == "" {
		return "docs/restrictions.md lists the names"
	}
	if r, known := Describe(s); known && r.Removed != "" {
		return "did you mean " + s + "? Postfix " + r.Removed + " has removed it; specify " + r.Instead
	}
	return "did you mean " + s + "?"
}

// safety is Postfix's start-up check: relaying must be refused by at least one
// working restriction.
func (p *Program) safety(cfg *config.Config) []Problem {
	if p.refusesRelay(p.lists[listRelay], 0) || p.refusesRelay(p.lists[listRecipient], 0) {
		return nil
	}
	return []Problem{{
		Pos:   cfg.Pos("smtpd_relay_restrictions"),
		Param: "smtpd_relay_restrictions",
		What: "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: " +
			"reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains",
		Mend: "add reject_unauth_destination",
	}}
}

// refusesRelay looks for a restriction that refuses strangers, as far as the
// list is certain to get there: not behind permit, not under warn_if_reject.
func (p *Program) refusesRelay(list []item, depth int) bool {
	if depth > maxDepth {
		return false
	}
	warned := false
	for _, it := range list {
		if it.op == opWarnIfReject {
			warned = true
			continue
		}
		if !warned {
			switch strings.ToLower(it.text) {
			case "reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit", "check_relay_domains":
				return true
			case "permit":
				return false
			}
			if it.op == opClass && p.refusesRelay(p.classes[it.text], depth+1) {
				return true
			}
		}
		warned = false
	}
	return false
}

// Tables lists the tables that the program asks, each once, with the place it
// is first named.
func (p *Program) Tables() map[string]config.Pos {
	out := make(map[string]config.Pos)
	add := func(list []item) {
		for _, it := range list {
			if it.op == opBareTable || it.op == opPlain && it.asksTable() {
				table := it.arg
				if it.search.table != "" {
					table = it.search.table
				}
				if _, ok := out[table]; !ok {
					out[table] = it.pos
				}
			}
		}
	}
	for _, l := range p.lists {
		add(l)
	}
	for _, l := range p.classes {
		add(l)
	}
	return out
}

// asksTable reports whether the argument is an access table.
func (it *item) asksTable() bool {
	b, ok := lookupBuiltin(strings.ToLower(it.text))
	return ok && b.arg == ArgumentTable && strings.Contains(it.arg, ":")
}
