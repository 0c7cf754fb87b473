// Package matchlist matches names and addresses against Postfix's match lists:
// mynetworks, relay_domains, mydestination and their kind. It is pure: tables
// named in a list are asked through an evidence.Source, files named in it were
// read by Parse. What a match means is the caller's business.
// postconf(5), "mynetworks" and "parent_domain_matches_subdomains".
package matchlist

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// List is a parsed match list. It never changes and is safe for concurrent
// use.
type List struct {
	param  string
	parent bool
	octets bool
	items  []item
}

type item struct {
	negate  bool
	text    string // without "!"
	table   bool
	pattern bool // a table that sees only whole keys
	// A pattern of addresses that has to be compared as one: those that can be
	// written in several ways, and networks.
	isNet  bool
	prefix netip.Prefix
	broken string // what is wrong with it
	pos    config.Pos
}

// Options are what Parse needs besides the list itself.
type Options struct {
	// Parent: a name matches its sub-domains too
	// (parent_domain_matches_subdomains lists the parameter).
	Parent bool
	// Octets: tables are asked for keys that are no UTF-8, too
	// (smtputf8_enable = no).
	Octets bool
	// Partial says of a table whether it is looked up with partial keys.
	Partial func(table string) bool
	// ReadFile returns the contents of a "/file/name" element.
	ReadFile func(name string) ([]byte, error)
}

// Parse reads the elements of a list. param is the name that warnings carry.
// A file that cannot be read, and a "!" with nothing behind it, is an error with
// its place.
func Parse(param string, elements []config.Item, o Options) (*List, error) {
	l := &List{param: param, parent: o.Parent, octets: o.Octets}
	return l, l.add(elements, false, o, 0)
}

// maxFiles bounds files that name each other.
const maxFiles = 100

func (l *List) add(elements []config.Item, negate bool, o Options, depth int) error {
	if depth > maxFiles {
		return fmt.Errorf("%s: files name each other", l.param)
	}
	for _, e := range elements {
		text, neg := e.Text, negate
		for strings.HasPrefix(text, "!") {
			text, neg = text[1:], !neg
		}
		if text == "" {
			return fmt.Errorf("%s: %s: no pattern after '!'", e.Pos, l.param)
		}
		if strings.HasPrefix(text, "/") {
			b, err := o.ReadFile(text)
			if err != nil {
				return fmt.Errorf("%s: %s: cannot read the file: %w", e.Pos, l.param, err)
			}
			items, err := fileItems(text, string(b))
			if err == nil {
				err = l.add(items, neg, o, depth+1)
			}
			if err != nil {
				return err
			}
			continue
		}
		l.items = append(l.items, newItem(text, neg, e.Pos, o))
	}
	return nil
}

// fileItems splits a file's contents; each element carries the line that its
// logical line begins in.
func fileItems(name, content string) ([]config.Item, error) {
	lines, _, err := config.Lines(strings.NewReader(content))
	var out []config.Item
	for _, l := range lines {
		for _, w := range config.Words(l.Text) {
			out = append(out, config.Item{Text: w, Pos: config.Pos{File: name, Line: l.Number}})
		}
	}
	return out, err
}

func newItem(text string, negate bool, pos config.Pos, o Options) item {
	it := item{negate: negate, text: text, pos: pos}
	if !strings.HasPrefix(text, "[") && strings.Contains(text, ":") {
		it.table, it.pattern = true, !o.Partial(text)
		return it
	}
	if isNetwork(text) {
		it.isNet = true
		it.prefix, it.broken = mail.ParseNetwork(text)
	}
	return it
}

const (
	v4Characters = "0123456789."
	v6Characters = v4Characters + "abcdefABCDEF:"
)

// isNetwork tells what Postfix takes for a network, or for an IPv6 address, from
// names and plain IPv4 addresses.
func isNetwork(text string) bool {
	return strings.ContainsAny(text, ":/") && strings.Trim(text, v6Characters+"[]/") == ""
}

// Problems returns what is wrong with address patterns, each with its place.
func (l *List) Problems() []string {
	var out []string
	for _, it := range l.items {
		if it.broken != "" {
			out = append(out, it.pos.String()+": "+l.param+": "+it.broken)
		}
	}
	return out
}

// Tables returns the tables that the list names, with their places.
func (l *List) Tables() []config.Item {
	var out []config.Item
	for _, it := range l.items {
		if it.table {
			out = append(out, config.Item{Text: it.text, Pos: it.pos})
		}
	}
	return out
}

// Result is what a match came to.
type Result struct {
	Match    bool
	Failed   bool // a table failed, or a pattern is broken: neither yes nor no
	Broken   bool // with Failed: the table failed for good, which no retry mends
	Warnings []string
}

// MatchHost matches a client by name or address; the first element that
// matches either decides.
func (l *List) MatchHost(src evidence.Source, name, addr string) Result {
	ip, err := netip.ParseAddr(addr)
	if err == nil {
		ip = ip.Unmap()
		addr = ip.String()
	}
	return l.match(func(it *item) Result {
		if r := l.host(src, it, name); r.Match || r.Failed {
			return r
		}
		return l.addr(src, it, addr, ip)
	})
}

// MatchDomain matches a domain name, sub-domains included as the list says.
func (l *List) MatchDomain(src evidence.Source, domain string) Result {
	return l.match(func(it *item) Result { return l.host(src, it, domain) })
}

// MatchString matches a whole string regardless of case.
func (l *List) MatchString(src evidence.Source, s string) Result {
	return l.match(func(it *item) Result {
		if it.table {
			return l.ask(src, it, s)
		}
		return Result{Match: l.equal(it.text, s)}
	})
}

func (l *List) match(test func(*item) Result) Result {
	for i := range l.items {
		r := test(&l.items[i])
		if r.Failed {
			return r
		}
		if r.Match {
			r.Match = !l.items[i].negate
			return r
		}
	}
	return Result{}
}

func (l *List) ask(src evidence.Source, it *item, key string) Result {
	if !l.octets && !utf8.ValidString(key) {
		return Result{} // no table has it, Postfix says
	}
	a := src.Ask(evidence.Question{Kind: evidence.Table, Name: it.text, Arg: strings.ToLower(key)})
	switch a.Status {
	case evidence.Found:
		return Result{Match: true}
	case evidence.NotFound:
		return Result{}
	}
	return Result{Failed: true, Broken: a.Permanent, Warnings: []string{l.param + ": " + it.text + ": table lookup problem"}}
}

// host tests one element against a name; a table is asked for the name and,
// unless it sees only whole keys, for its parent domains.
func (l *List) host(src evidence.Source, it *item, name string) Result {
	if !it.table {
		return Result{Match: l.sameHost(it.text, name)}
	}
	for key := name; key != ""; {
		if r := l.ask(src, it, key); r.Match || r.Failed || it.pattern {
			return r
		}
		i := strings.IndexByte(key[1:], '.')
		if i < 0 {
			break
		}
		if key = key[1+i:]; l.parent {
			key = key[1:]
		}
	}
	return Result{}
}

func (l *List) sameHost(pattern, name string) bool {
	if l.equal(pattern, name) {
		return true
	}
	suffix := pattern
	if l.parent {
		suffix = "." + pattern
	}
	return strings.HasPrefix(suffix, ".") && len(name) > len(suffix) &&
		l.equal(name[len(name)-len(suffix):], suffix)
}

// equal compares without regard to case: that of ASCII alone where names are
// octets.
func (l *List) equal(a, b string) bool {
	return strings.EqualFold(a, b) && (!l.octets || lowerASCII(a) == lowerASCII(b))
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// addr tests one element against an address. What is wrong with a pattern
// matters only to addresses of its IP version.
func (l *List) addr(src evidence.Source, it *item, addr string, ip netip.Addr) Result {
	switch {
	case strings.Trim(addr, v6Characters) != "":
		return Result{} // "unknown"
	case it.table:
		return l.ask(src, it, addr)
	case strings.EqualFold(it.text, addr) || strings.EqualFold(it.text, "["+addr+"]"):
		return Result{Match: true}
	case !it.isNet || strings.Contains(it.text, ":") != strings.Contains(addr, ":"):
		return Result{}
	case it.broken != "":
		return Result{Failed: true, Warnings: []string{l.param + ": " + it.broken}}
	}
	return Result{Match: ip.IsValid() && it.prefix.Contains(ip)}
}
