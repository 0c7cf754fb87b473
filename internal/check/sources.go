package check

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/restrict"
	"sekisho/internal/table"
)

// entry is one line of a table's source: "KEY VALUE" or "/PATTERN/flags VALUE".
type entry struct {
	key, value string
	pos        config.Pos
}

// source is the text that a table is made from.
type source struct {
	typ     string // as in the specification: hash, regexp, cidr, ...
	entries []entry
}

// pattern reports whether the keys are regular expressions.
func (s source) pattern() bool { return s.typ == "regexp" || s.typ == "pcre" }

// readSource reads the source of the table spec, if it has one that is a text
// with a key on each line. Lines that make no sense are others' findings.
func readSource(spec, dir, defaultType string) (source, bool) {
	typ, name := table.Split(spec, defaultType)
	switch typ {
	case "hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash", "cidr", "regexp", "pcre":
	default:
		return source{}, false
	}
	if strings.HasPrefix(name, "{") {
		return source{}, false
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return source{}, false
	}
	defer f.Close()
	lines, _, err := config.Lines(f)
	if err != nil {
		return source{}, false
	}
	s := source{typ: typ}
	for _, l := range lines {
		if key, value, ok := s.cut(l.Text); ok {
			s.entries = append(s.entries, entry{key, value, config.Pos{File: name, Line: l.Number}})
		}
	}
	return s, true
}

// cut splits a line into key and value.
func (s source) cut(line string) (key, value string, ok bool) {
	end := strings.IndexAny(line, " \t")
	if s.pattern() {
		rest := strings.TrimLeft(line, "!")
		if rest == "" || rest[0] >= 'a' && rest[0] <= 'z' || rest[0] >= 'A' && rest[0] <= 'Z' {
			return "", "", false // if, endif
		}
		end = closing(line, len(line)-len(rest))
	}
	if end < 0 {
		return "", "", false
	}
	return line[:end], strings.TrimSpace(line[end:]), true
}

// closing returns the index of the blank after the pattern that opens at at.
func closing(line string, at int) int {
	for i := at + 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case line[at]:
			if n := strings.IndexAny(line[i:], " \t"); n >= 0 {
				return i + n
			}
			return -1
		}
	}
	return -1
}

// asked says what a restriction looks up in its table.
type asked uint8

const (
	askedHost    asked = iota // names, and addresses of hosts
	askedName                 // names, without an address that belongs to them
	askedAddress              // mail addresses
	askedOther                // login names, fingerprints
)

func askedBy(e restrict.Entry, param string) asked {
	name := e.Name
	if name == "" {
		name = bareTables[param]
	}
	switch {
	case strings.HasSuffix(name, "_a_access"), strings.HasSuffix(name, "_mx_access"), strings.HasSuffix(name, "_ns_access"),
		name == "check_client_access", name == "check_reverse_client_hostname_access":
		return askedHost
	case name == "check_helo_access" || name == "check_etrn_access":
		return askedName
	case name == "check_sender_access" || name == "check_recipient_access":
		return askedAddress
	}
	return askedOther
}

// bareTables are the restrictions that a table without one stands for.
var bareTables = map[string]string{
	"smtpd_client_restrictions": "check_client_access", "smtpd_helo_restrictions": "check_helo_access",
	"smtpd_sender_restrictions": "check_sender_access", "smtpd_relay_restrictions": "check_recipient_access",
	"smtpd_recipient_restrictions": "check_recipient_access", "smtpd_etrn_restrictions": "check_etrn_access",
}

// forbidsOK reports whether an OK from the table of a restriction is an error:
// whoever sends the mail chooses what is looked up.
func forbidsOK(name string) bool {
	return name == "check_reverse_client_hostname_access" || strings.HasSuffix(name, "_a_access") ||
		strings.HasSuffix(name, "_mx_access") || strings.HasSuffix(name, "_ns_access")
}

// isNetwork reports whether a key of a text table is written like a network.
func isNetwork(key string) bool {
	_, err := netip.ParsePrefix(key)
	return err == nil
}
