package restrict

import (
	_ "embed"
	"strings"
)

// restrictionsTSV has a line for each name, in the order of the fields of
// Restriction.
//
//go:embed restrictions.tsv
var restrictionsTSV string

// Restriction describes a name of the language for people: documentation,
// suggestions, and what its test has to show. Evaluation does not use it.
type Restriction struct {
	Name     string
	AliasOf  string // the name it is another word for; then all else is empty
	Argument Argument
	// Earliest is the first command whose list knows what the restriction is
	// about, unless smtpd_delay_reject postpones all lists: "client" (any list),
	// "helo", "sender", "recipient" or "etrn".
	Earliest string
	// Facts are what it looks at, named as in SMTPD_POLICY_README; "all" of a
	// policy service. unauth_pipelining, which that does not have, is ours.
	Facts []string
	// Asks are the kinds of questions it asks: "dns", "list" (a DNS list), "host"
	// (addresses as the system's resolver finds them), "table" (its argument),
	// "maps:PARAMETER", "resolver" (the tables behind address classes), "policy",
	// "verify" and "sleep".
	Asks []string
	// Parameters change what it replies.
	Parameters []string
	// Replies are what it refuses with by default. N and C are the name and the
	// class that its list speaks of.
	Replies []string
	Since   string // Postfix's version; empty: before 2.0
	Removed string // Postfix's version that removed it; empty: it works
	Instead string // of a removed one, as Postfix's warning has it
	Meaning string // in one line
}

// Argument is what follows the name of a restriction.
type Argument string

const (
	ArgumentNone        Argument = ""
	ArgumentTable       Argument = "table"       // type:name
	ArgumentDomain      Argument = "domain"      // of a DNS list, perhaps with =filter
	ArgumentService     Argument = "service"     // transport:endpoint, or in braces with options
	ArgumentSeconds     Argument = "seconds"     // digits
	ArgumentRestriction Argument = "restriction" // another restriction, or a class
)

// Form is how the argument is written, in words for people; empty if there is none.
func (a Argument) Form() string {
	switch a {
	case ArgumentTable:
		return "type:table"
	case ArgumentDomain:
		return "domain[=filter]"
	case ArgumentService:
		return "transport:endpoint"
	case ArgumentSeconds:
		return "SECONDS"
	case ArgumentRestriction:
		return "restriction"
	}
	return ""
}

// Language returns every name that Postfix accepts in a restriction list, in
// the order of postconf(5): generic, client, HELO, sender, recipient, ETRN.
func Language() []Restriction {
	lines := strings.Split(strings.TrimRight(restrictionsTSV, "\n"), "\n")
	out := make([]Restriction, len(lines))
	for i, l := range lines {
		f := strings.Split(l, "\t")
		out[i] = Restriction{
			Name: f[0], AliasOf: f[1], Argument: Argument(f[2]), Earliest: f[3], Facts: strings.Fields(f[4]), Asks: strings.Fields(f[5]),
			Parameters: strings.Fields(f[6]), Replies: strings.FieldsFunc(f[7], func(c rune) bool { return c == '|' }),
			Since: f[8], Removed: f[9], Instead: f[10], Meaning: f[11],
		}
	}
	return out
}

// Describe returns the description of a name in any case, of an alias that of
// what it stands for.
func Describe(name string) (r Restriction, ok bool) {
	name = strings.ToLower(name)
	all := Language()
	for _, r := range all {
		if r.Name != name {
			continue
		}
		if r.AliasOf == "" {
			return r, true
		}
		name = r.AliasOf
	}
	for _, r := range all { // an alias may stand behind its name
		if r.Name == name && r.AliasOf == "" {
			return r, true
		}
	}
	return Restriction{}, false
}

// Names lists every name of the language.
func Names() []string {
	var names []string
	for _, r := range Language() {
		names = append(names, r.Name)
	}
	return names
}
