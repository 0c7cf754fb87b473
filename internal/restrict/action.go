package restrict

import (
	"strconv"
	"strings"
)

// action executes the right-hand side of an access table entry, or the action
// of a policy service (access(5)).
func (r *run) action(l *lookup, key, value string) status {
	value = strings.TrimLeft(value, " \t\r\n")
	verb, text := cutVerb(value)
	if verb == "" {
		r.warnf("%s lookup of %s returns an empty string result", l.table, key)
		r.warnf("%s should return NO RESULT in case of NOT FOUND", l.table)
		return r.reject(ClassPolicy, 451, "4.3.5", refusal(l.name, l.class, "Server configuration error"))
	}
	if st, done := r.decisiveAction(l, verb, text, value); done {
		return st
	}
	if st, done := r.sideAction(l, key, strings.ToUpper(verb), text); done {
		return st
	}
	return r.nested(l, key, value)
}

func cutVerb(value string) (verb, text string) {
	i := strings.IndexAny(value, " \t")
	if i < 0 {
		return value, ""
	}
	return value[:i], strings.TrimLeft(value[i:], " \t")
}

// decisiveAction handles what answers the client.
func (r *run) decisiveAction(l *lookup, verb, text, value string) (status, bool) {
	s := &r.p.set
	switch strings.ToUpper(verb) {
	case "DUNNO":
		return dunno, true
	case "OK", "RELAY":
		return r.permitAction(l, verb), true
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
		return r.permitAction(l, verb), true
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

// permitAction is OK, RELAY and the all-numeric result. Some lookups must not
// permit: the client chooses what they look up.
func (r *run) permitAction(l *lookup, verb string) status {
	if l.strict {
		r.warnf("restriction %s returns OK for %s", l.it.text, l.name)
		r.warnf("this is not allowed for security reasons")
		r.warnf("use DUNNO instead of OK if you want to make an exception")
		return r.serverError()
	}
	return permit
}

// sideAction handles what changes the message and lets evaluation go on.
func (r *run) sideAction(l *lookup, key, verb, text string) (status, bool) {
	switch verb {
	case "INFO", "WARN":
		r.logf(r.f.LogLine(strings.ToLower(verb), text))
		return dunno, true
	case "FILTER", "HOLD", "DISCARD", "REDIRECT", "BCC", "PREPEND":
	default:
		return dunno, false
	}
	if !r.p.set.delayReject && (l.class == classClient || l.class == classHelo) {
		r.warnf("access table %s: with smtpd_delay_reject=no, action %s is always skipped in %s or %s restrictions",
			l.table, verb, classClient, classHelo)
		return dunno, true
	}
	switch verb {
	case "FILTER":
		if text == "" {
			r.warnf("access table %s entry \"%s\" has FILTER entry without value", l.table, key)
			return dunno, true
		}
		return r.argAction(l, key, Filter, verb, text, strings.Contains(text, ":"), "transport:destination"), true
	case "REDIRECT":
		return r.argAction(l, key, Redirect, verb, text, strings.Contains(text, "@"), "user@domain target"), true
	case "BCC":
		return r.argAction(l, key, Bcc, verb, text, strings.Contains(text, "@"), "user@domain target"), true
	case "PREPEND":
		return r.prepend(l, key, text), true
	}
	kind := Hold
	if verb == "DISCARD" {
		kind = Discard
	}
	r.logf(r.f.LogLine(strings.ToLower(verb), "<"+l.name+">: "+l.class+" "+orSelf(text, "triggers "+verb+" action")))
	r.effect(kind, text)
	if kind == Discard {
		r.discarded = true
		return permit, true
	}
	return dunno, true
}

func (r *run) effect(kind EffectKind, arg string) {
	r.out.Effects = append(r.out.Effects, Effect{Kind: kind, Arg: arg})
}

// argAction is an action that needs an argument of a certain form.
func (r *run) argAction(l *lookup, key string, kind EffectKind, verb, text string, ok bool, needs string) status {
	if !ok {
		r.warnf("access table %s entry \"%s\" requires %s", l.table, key, needs)
		return dunno
	}
	r.logf(r.f.LogLine(strings.ToLower(verb), "<"+l.name+">: "+l.class+" triggers "+verb+" "+text))
	r.effect(kind, text)
	return dunno
}

func (r *run) prepend(l *lookup, key, text string) status {
	switch {
	case r.f.ProtocolState == "END-OF-MESSAGE":
		r.warnf("access table %s: action PREPEND must be used before smtpd_end_of_data_restrictions", l.table)
	case !isHeader(text):
		r.warnf("access table %s entry \"%s\" requires header: text", l.table, key)
	default:
		r.effect(Prepend, text)
	}
	return dunno
}

// isHeader reports whether text begins like a header: printable characters
// without space up to a colon.
func isHeader(text string) bool {
	i := strings.IndexByte(text, ':')
	if i <= 0 {
		return false
	}
	name := strings.TrimRight(text[:i], " \t")
	for j := 0; j < len(name); j++ {
		if name[j] <= ' ' || name[j] >= 127 {
			return false
		}
	}
	return name != ""
}

// nested evaluates a right-hand side that is a list of restrictions, in the
// context of the lookup.
func (r *run) nested(l *lookup, key, value string) status {
	if strings.Contains(value, ":") {
		r.warnf("access table %s entry %s has entry with lookup table: %s", l.table, key, value)
		r.warnf("do not specify lookup tables inside SMTPD access maps")
		r.warnf("define a restriction class and specify its name instead.")
		return r.serverError()
	}
	var words []word
	for _, w := range strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) }) {
		words = append(words, word{text: w, pos: l.it.pos})
	}
	ps := parser{partial: r.p.partial, classes: r.p.classNames, words: words, list: l.it.list}
	return r.walk(ps.parse(), l.scope)
}
