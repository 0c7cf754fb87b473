package check

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/restrict"
	"sekisho/internal/table"
)

// Tables looks at the access tables that the lists of one service name: of a
// kind that cannot have what is looked up, keys that nothing matches, and
// right-hand sides that the engine does not understand.
func Tables(service string, cfg *config.Config, p *restrict.Program) []Finding {
	t := &tables{order: order{service: service}, cfg: cfg, vet: p.VetAction, done: make(map[string]bool)}
	for _, l := range p.Lists() {
		for e := range all(l.Entries) {
			if e.Name == "" || strings.HasPrefix(e.Name, "check_") && strings.HasSuffix(e.Name, "_access") {
				t.table(l.Param, e)
			}
		}
	}
	return t.found
}

type tables struct {
	order
	cfg  *config.Config
	vet  func(value string) (what, mend string)
	done map[string]bool // restriction and table
}

func (t *tables) table(param string, e restrict.Entry) {
	if key := e.Name + param + e.Arg; t.done[key] {
		return
	} else {
		t.done[key] = true
	}
	kind := askedBy(e, param)
	typ, _ := table.Split(e.Arg, t.cfg.Str("default_database_type"))
	if typ == "cidr" && kind != askedHost {
		t.add(Finding{
			Code: "SEK404", Severity: Warning, Pos: e.Pos, What: param + ": " + label(e) + " never matches",
			Why: "a cidr table has IP addresses, and none is looked up here", Mend: "use a hash or pcre table",
		})
	}
	if typ == "static" {
		t.action(e, entry{key: label(e), value: strings.TrimPrefix(e.Arg, "static:"), pos: e.Pos})
		return
	}
	s, ok := readSource(e.Arg, t.cfg.Dir, t.cfg.Str("default_database_type"))
	if !ok {
		return
	}
	for _, entry := range s.entries {
		t.action(e, entry)
		t.key(kind, s, entry)
	}
}

// action looks at a right-hand side.
func (t *tables) action(e restrict.Entry, entry entry) {
	switch what, mend := t.vet(entry.value); {
	case what != "":
		t.add(Finding{
			Code: "SEK401", Severity: Error, Pos: entry.pos, What: entry.key + ": " + what,
			Why: "who comes to this line is answered 451 4.3.5 Server configuration error, or the action is skipped", Mend: mend,
		})
	case restrict.Permits(entry.value) && forbidsOK(e.Name):
		t.add(Finding{
			Code: "SEK405", Severity: Error, Pos: entry.pos, What: entry.key + ": " + e.Name + " may not say OK",
			Why:  "whoever sends the mail chooses the name that is looked up; the answer is 451 4.3.5 Server configuration error",
			Mend: "write DUNNO to make an exception",
		})
	}
}

// key looks at a left-hand side.
func (t *tables) key(kind asked, s source, e entry) {
	switch {
	case s.pattern():
		t.regular(kind, e)
	case s.typ == "cidr":
	case isNetwork(e.key):
		t.never(e, "this kind of table has no networks", "use a cidr table, or write the beginning of the address: 192.0.2")
	case strings.ContainsAny(e.key, "*?") && e.key != "*":
		t.never(e, "this kind of table has no wildcards", "write example.com or .example.com for domains, user@ for users, or use a pcre table")
	}
}

func (t *tables) never(e entry, why, mend string) {
	t.add(Finding{Code: "SEK402", Severity: Warning, Pos: e.pos, What: e.key + " is never matched", Why: why, Mend: mend})
}

// regular looks at a pattern: one that cannot match an address, and one that
// lets more pass than it seems to.
func (t *tables) regular(kind asked, e entry) {
	text, ok := pattern(e.key)
	if !ok {
		return
	}
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return
	}
	begin, end := anchored(re)
	switch {
	case kind == askedAddress && begin && end && !mayContain(re, '@') && !t.matchesNull(text):
		t.add(Finding{
			Code: "SEK403", Severity: Warning, Pos: e.pos, What: e.key + " is never matched",
			Why: "a table of patterns is asked for the whole address only, and the pattern has no @", Mend: "begin the pattern with /@, without ^",
		})
	case restrict.Permits(e.value) && !end:
		t.add(Finding{
			Code: "SEK406", Severity: Warning, Pos: e.pos, What: e.key + " also lets longer names pass",
			Why: "the pattern does not end in $: example.com matches example.com.attacker.test", Mend: "end the pattern in $",
		})
	}
}

// pattern cuts the expression out of "/pattern/flags".
func pattern(key string) (string, bool) {
	end := strings.LastIndexByte(key, key[0])
	if key[0] == '!' || end <= 0 {
		return "", false
	}
	return key[1:end], true
}

// matchesNull reports whether a pattern matches what stands for the null
// sender.
func (t *tables) matchesNull(pattern string) bool {
	re, err := regexp.Compile(pattern)
	return err != nil || re.MatchString(t.cfg.Str("smtpd_null_access_lookup_key"))
}

// anchored reports whether a match must begin and end with the key.
func anchored(re *syntax.Regexp) (begin, end bool) {
	switch re.Op {
	case syntax.OpBeginText, syntax.OpBeginLine:
		return true, false
	case syntax.OpEndText, syntax.OpEndLine:
		return false, true
	case syntax.OpCapture:
		return anchored(re.Sub[0])
	case syntax.OpConcat:
		begin, _ = anchored(re.Sub[0])
		_, end = anchored(re.Sub[len(re.Sub)-1])
		return begin, end
	case syntax.OpAlternate:
		begin, end = true, true
		for _, s := range re.Sub {
			b, e := anchored(s)
			begin, end = begin && b, end && e
		}
		return begin, end
	}
	return false, false
}

// mayContain reports whether a match may contain c.
func mayContain(re *syntax.Regexp, c rune) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpLiteral:
		return strings.ContainsRune(string(re.Rune), c)
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			if re.Rune[i] <= c && c <= re.Rune[i+1] {
				return true
			}
		}
	}
	for _, s := range re.Sub {
		if mayContain(s, c) {
			return true
		}
	}
	return false
}
