package restrict

import "strings"

// VetAction says what is wrong with the right-hand side of an access table's
// entry (access(5)), and what may have been meant; both are empty when the
// engine understands it. It evaluates nothing.
func (p *Program) VetAction(value string) (what, mend string) {
	verb, text := cutVerb(value)
	switch strings.ToUpper(verb) {
	case "DUNNO", "OK", "RELAY", "REJECT", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT", "HANGUP", "INFO", "WARN", "HOLD", "DISCARD":
		return "", ""
	case "FILTER":
		return needs(strings.Contains(text, ":"), "FILTER requires transport:destination")
	case "REDIRECT", "BCC":
		return needs(strings.Contains(text, "@"), strings.ToUpper(verb)+" requires an address user@domain")
	case "PREPEND":
		return needs(isHeader(text), "PREPEND requires a header: text")
	}
	if isDigits(value) {
		return "", ""
	}
	if _, ok := replyCode(verb); ok && text != "" {
		return "", ""
	}
	return p.vetRestrictions(value)
}

func needs(ok bool, what string) (string, string) {
	if ok {
		return "", ""
	}
	return what, "write it after the action"
}

// vetRestrictions reads value as the list of restrictions it is when it begins
// with no action.
func (p *Program) vetRestrictions(value string) (what, mend string) {
	if strings.Contains(value, ":") {
		return "a lookup table cannot be named in an access table", "define a restriction class and name that"
	}
	var words []word
	for _, w := range strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) }) {
		words = append(words, word{text: w})
	}
	ps := parser{partial: p.partial, classes: p.classNames, words: words}
	for _, it := range ps.parse() {
		if it.op == opBroken {
			return it.arg, p.mend(it)
		}
	}
	return "", ""
}

// Permits reports whether the right-hand side of an access table's entry lets
// a client past the rest of a list.
func Permits(value string) bool {
	verb, _ := cutVerb(value)
	switch strings.ToUpper(verb) {
	case "OK", "RELAY", "PERMIT":
		return true
	}
	return isDigits(value)
}
