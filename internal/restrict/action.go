package restrict

import (
	"strconv"
	"strings"
)

// action executes the right-hand side of an access table entry, or the action
// of a policy service (access(5)).
func (r *run) action(l *lookup, value string) status {
	verb, text := cutVerb(value)
	if st, done := r.decisiveAction(l, strings.ToUpper(verb), verb, text, value); done {
		return st
	}
	if st, done := r.sideAction(l, strings.ToUpper(verb), text); done {
		return st
	}
	return r.nested(l, value)
}

func cutVerb(value string) (verb, text string) {
	i := strings.IndexAny(value, " \t")
	if i < 0 {
		return value, ""
	}
	return value[:i], strings.TrimLeft(value[i:], " \t\r\n\v\f")
}

// decisiveAction handles what answers the client.
func (r *run) decisiveAction(l *lookup, verb, written, text, value string) (status, bool) {
	s := &r.p.set
	switch verb {
	case "DUNNO":
		return dunno, true
	case "OK", "RELAY":
		return r.permitLogged(written, l.class, l.name, "from "+l.table), true
	case "REJECT":
		return r.tableReject(l, s.mapRejectCode, "5.7.1", text, "Access denied"), true
	case "DEFER":
		return r.tableReject(l, s.mapDeferCode, "4.7.1", text, "Access denied"), true
	case "DEFER_IF_PERMIT":
		dsn, text := splitStatus("4.7.1", text)
		return r.deferIfPermit(ClassPolicy, s.mapDeferCode, r.fixStatus(dsn, l.class),
			refusal(l.name, l.class, orSelf(text, "Service unavailable"))), true
	case "DEFER_IF_REJECT":
		dsn, text := splitStatus("4.7.1", text)
		return r.deferIfReject(ClassPolicy, s.mapDeferCode, r.fixStatus(dsn, l.class),
			refusal(l.name, l.class, orSelf(text, "Service unavailable"))), true
	case "HANGUP":
		r.logf(r.f.LogLine("hangup", text))
		r.out.Hangup = true
		return rejected, true
	}
	if isDigits(value) {
		return r.permitLogged(written, l.class, l.name, "from "+l.table), true
	}
	if code, ok := replyCode(verb); ok && text != "" {
		def := strconv.Itoa(code/100) + ".7.1"
		return r.tableReject(l, code, def, text, "Access denied"), true
	}
	return dunno, false
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func replyCode(s string) (int, bool) {
	if len(s) != 3 || (s[0] != '4' && s[0] != '5') || !isDigits(s) {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func (r *run) tableReject(l *lookup, code int, dsn, text, def string) status {
	dsn, text = splitStatus(dsn, text)
	return r.reject(ClassPolicy, code, r.fixStatus(dsn, l.class), refusal(l.name, l.class, orSelf(text, def)))
}

// sideAction handles what changes the message and lets evaluation go on.
func (r *run) sideAction(l *lookup, verb, text string) (status, bool) {
	switch verb {
	case "INFO", "WARN":
		r.logf(r.f.LogLine(strings.ToLower(verb), text))
		return dunno, true
	case "FILTER", "HOLD", "DISCARD", "REDIRECT", "BCC", "PREPEND":
	default:
		return dunno, false
	}
	if !r.mayChange(l, verb) {
		return dunno, true
	}
	switch verb {
	case "FILTER":
		if text == "" {
			r.warnf("access table %s entry \"%s\" has FILTER entry without value", l.table, l.datum)
			return dunno, true
		}
		return r.argAction(l, Filter, verb, text, strings.Contains(text, ":"), "transport:destination"), true
	case "REDIRECT":
		return r.argAction(l, Redirect, verb, text, strings.Contains(text, "@"), "user@domain target"), true
	case "BCC":
		return r.argAction(l, Bcc, verb, text, strings.Contains(text, "@"), "user@domain target"), true
	case "PREPEND":
		return r.prepend(l, text), true
	case "DISCARD":
		r.logAction(l, verb, text)
		r.effect(Discard, text)
		r.carry.Discarded = true
		return r.permitLogged(verb, l.class, l.name, "from "+l.table), true
	}
	if !r.carry.Held {
		r.logAction(l, verb, text)
		r.effect(Hold, text)
		r.carry.Held = true
	}
	return dunno, true
}

// mayChange reports whether there is a message that an action could change.
func (r *run) mayChange(l *lookup, verb string) bool {
	switch {
	case verb != "PREPEND" && r.p.set.proxyFilter:
		r.warnf("access table %s: with smtpd_proxy_filter specified, action %s is unavailable", l.table, verb)
	case verb != "PREPEND" && r.f.ProtocolState == "ETRN":
		r.warnf("access table %s: action %s is unavailable in smtpd_etrn_restrictions", l.table, verb)
	case !r.f.SenderKnown:
		r.warnf("access table %s: with smtpd_delay_reject=no, action %s is always skipped in %s or %s restrictions",
			l.table, verb, classClient, classHelo)
	default:
		return true
	}
	return false
}

func (r *run) logAction(l *lookup, verb, text string) {
	r.logf(r.f.LogLine(strings.ToLower(verb), "<"+l.name+">: "+l.class+" "+orSelf(text, "triggers "+verb+" action")))
}

func (r *run) effect(kind EffectKind, arg string) {
	r.out.Effects = append(r.out.Effects, Effect{Kind: kind, Arg: arg})
}

// argAction is an action that needs an argument of a certain form.
func (r *run) argAction(l *lookup, kind EffectKind, verb, text string, ok bool, needs string) status {
	if !ok {
		r.warnf("access table %s entry \"%s\" requires %s", l.table, l.datum, needs)
		return dunno
	}
	r.logf(r.f.LogLine(strings.ToLower(verb), "<"+l.name+">: "+l.class+" triggers "+verb+" "+text))
	r.effect(kind, text)
	return dunno
}

func (r *run) prepend(l *lookup, text string) status {
	switch {
	case r.f.ProtocolState == "END-OF-MESSAGE":
		r.warnf("access table %s: action PREPEND must be used before smtpd_end_of_data_restrictions", l.table)
	case !isHeader(text):
		r.warnf("access table %s entry \"%s\" requires header: text", l.table, l.datum)
	default:
		r.effect(Prepend, text)
	}
	return dunno
}

// isHeader reports whether text begins like a header: a label of printable
// characters, perhaps white space, and a colon.
func isHeader(text string) bool {
	label, _, ok := strings.Cut(text, ":")
	label = strings.TrimRight(label, " \t")
	for i := 0; i < len(label); i++ {
		if label[i] <= ' ' || label[i] >= 127 {
			return false
		}
	}
	return ok && label != ""
}

// nested evaluates a right-hand side that is a list of restrictions, in the
// context of the lookup.
func (r *run) nested(l *lookup, value string) status {
	if strings.Contains(value, ":") {
		r.warnf("access table %s has entry with lookup table: %s", l.table, value)
		r.warnf("do not specify lookup tables inside SMTPD access maps")
		r.warnf("define a restriction class and specify its name instead.")
		return r.serverError()
	}
	if r.depth > maxDepth {
		r.warnf("access table %s entry %s causes unreasonable recursion", l.table, value)
		return r.serverError()
	}
	var words []word
	for _, w := range strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) }) {
		words = append(words, word{text: w, pos: l.it.pos})
	}
	if len(words) == 0 {
		r.warnf("access table %s entry %s has empty value", l.table, value)
		return permit
	}
	ps := parser{partial: r.p.partial, classes: r.p.classNames, words: words, list: l.it.list}
	return r.walk(ps.parse(), l.scope)
}
