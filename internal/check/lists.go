package check

import (
	"iter"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/restrict"
)

// Lists looks at the restriction lists of one service for restrictions that do
// nothing, or not what whoever wrote them expects.
func Lists(service string, cfg *config.Config, lists []restrict.List) []Finding {
	o := &order{service: service}
	for _, l := range lists {
		o.repeated(l)
		o.bare(l)
		o.idleWarnings(l, cfg)
		o.recursion(l.Entries)
		if !cfg.Bool("smtpd_delay_reject") {
			o.early(l)
		}
	}
	o.withoutHelo(cfg, lists)
	return o.found
}

// all are the entries of a list with those of its restriction classes.
func all(entries []restrict.Entry) iter.Seq[restrict.Entry] {
	return func(yield func(restrict.Entry) bool) { walk(entries, yield) }
}

func walk(entries []restrict.Entry, yield func(restrict.Entry) bool) bool {
	for _, e := range entries {
		if !yield(e) || !walk(e.Class, yield) {
			return false
		}
	}
	return true
}

// repeated finds what stands in a list twice. A permit or reject that is not
// reached has its own finding.
func (o *order) repeated(l restrict.List) {
	seen := make(map[string]config.Pos)
	for _, e := range l.Entries {
		key := label(e)
		first, twice := seen[key]
		switch {
		case e.Warn || decides(e) || e.Name == "sleep" || strings.HasPrefix(e.Name, "defer_if"):
		case !twice:
			seen[key] = e.Pos
		default:
			o.add(Finding{
				Code: "SEK102", Severity: Note, Pos: e.Pos,
				What: l.Param + ": " + key + " stands here a second time",
				Why:  "the answer is that of the first (" + first.String() + ")",
				Mend: "remove one of them",
			})
		}
	}
}

// bare finds tables without a restriction's name where Postfix cannot say what
// to look up.
func (o *order) bare(l restrict.List) {
	if l.Param != "smtpd_data_restrictions" && l.Param != "smtpd_end_of_data_restrictions" {
		return
	}
	for _, e := range l.Entries {
		if e.Name == "" {
			o.add(Finding{
				Code: "SEK104", Severity: Error, Pos: e.Pos,
				What: l.Param + ": " + e.Arg + " stands without a restriction",
				Why:  "every message is answered 451 4.3.5 Server configuration error",
				Mend: "write check_client_access, check_sender_access or check_recipient_access before it",
			})
		}
	}
}

// idleWarnings finds warn_if_reject where nothing is left to be refused.
func (o *order) idleWarnings(l restrict.List, cfg *config.Config) {
	words := cfg.List(l.Param)
	if n := len(words); n > 0 && strings.EqualFold(words[n-1].Text, "warn_if_reject") {
		o.idleWarning(l.Param, words[n-1].Pos, "nothing follows it")
	}
	for e := range all(l.Entries) {
		if e.Warn && strings.HasPrefix(e.Name, "permit") {
			o.idleWarning(l.Param, e.Pos, e.Name+" after it never refuses")
		}
	}
}

func (o *order) idleWarning(param string, pos config.Pos, why string) {
	o.add(Finding{
		Code: "SEK105", Severity: Warning, Pos: pos, What: param + ": warn_if_reject has no effect", Why: why,
		Mend: "put it directly before the restriction that is to be tried",
	})
}

// recursion finds restriction classes that contain themselves: Lists shows
// such a class without members.
func (o *order) recursion(entries []restrict.Entry) {
	o.within(entries, nil)
}

func (o *order) within(entries []restrict.Entry, classes []string) {
	for _, e := range entries {
		for _, c := range classes {
			if e.Name == c {
				o.add(Finding{
					Code: "SEK106", Severity: Error, Pos: e.Pos, What: "restriction class " + c + " contains itself",
					Why: "whoever comes to it is answered 451 4.3.5 Server configuration error", Mend: "take it out of its own list",
				})
			}
		}
		if e.Class != nil {
			o.within(e.Class, append(classes[:len(classes):len(classes)], e.Name))
		}
	}
}

// known are the facts of a session at the moment a list is evaluated when
// smtpd_delay_reject = no, beside the client.
var known = map[string]string{
	"smtpd_client_restrictions": "",
	"smtpd_helo_restrictions":   "helo",
	"smtpd_sender_restrictions": "helo sender",
	"smtpd_etrn_restrictions":   "helo etrn",
}

// early finds restrictions that are evaluated before the client has said what
// they are about.
func (o *order) early(l restrict.List) {
	facts, limited := known[l.Param]
	if !limited {
		return
	}
	for e := range all(l.Entries) {
		about := subject(e.Name)
		if about == "" || strings.Contains(facts, about) {
			continue
		}
		o.add(Finding{
			Code: "SEK103", Severity: Warning, Pos: e.Pos,
			What: l.Param + ": " + label(e) + " is evaluated before there is " + a(about),
			Why:  "smtpd_delay_reject = no evaluates each list at its own command; the restriction is skipped",
			Mend: "move it to smtpd_" + strings.ToLower(about) + "_restrictions, or set smtpd_delay_reject = yes",
		})
	}
}

// a is what a subject is called in a sentence.
func a(subject string) string {
	if subject == "etrn" {
		return "an ETRN domain"
	}
	return "a " + subject
}

// subject is what a restriction is about besides the client: "helo", "sender",
// "recipient" or "etrn".
func subject(name string) string {
	if r, ok := restrict.Describe(name); ok && r.Earliest != "client" {
		return r.Earliest
	}
	return ""
}

// withoutHelo finds tests of the HELO name that a client escapes by not
// sending one.
func (o *order) withoutHelo(cfg *config.Config, lists []restrict.List) {
	if cfg.Bool("smtpd_helo_required") {
		return
	}
	for _, l := range lists {
		for e := range all(l.Entries) {
			if subject(e.Name) != "helo" {
				continue
			}
			o.add(Finding{
				Code: "SEK109", Severity: Note, Pos: e.Pos,
				What: l.Param + ": " + label(e) + " is skipped for clients that send no HELO",
				Why:  "smtpd_helo_required = no lets them begin with MAIL", Mend: "set smtpd_helo_required = yes",
			})
			return
		}
	}
}

// Classes looks at the restriction classes of a configuration.
func Classes(cfg *config.Config) []Finding {
	var found []Finding
	builtin := make(map[string]bool)
	for _, n := range restrict.Names() {
		builtin[n] = true
	}
	for _, c := range cfg.List("smtpd_restriction_classes") {
		switch {
		case builtin[strings.ToLower(c.Text)]:
			found = append(found, Finding{
				Code: "SEK107", Severity: Warning, Pos: c.Pos, What: "restriction class " + c.Text + " has the name of a restriction",
				Why: "the restriction is meant wherever the name stands", Mend: "give the class another name",
			})
		case len(cfg.List(c.Text)) == 0:
			found = append(found, Finding{
				Code: "SEK108", Severity: Warning, Pos: c.Pos, What: "restriction class " + c.Text + " is empty",
				Why: "whoever comes to it passes", Mend: "add a line: " + c.Text + " = RESTRICTION ...",
			})
		}
	}
	return found
}
