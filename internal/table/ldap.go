package table

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"sekisho/internal/table/ldap"
)

// ldapTable asks a directory (ldap_table(5)).
type ldapTable struct {
	query        ldap.Query // without what depends on the key
	base, filter string
	resultFormat string
	domains      domainList
	directory    *ldap.Directory // the Set's
	warn         func(string)
}

// openLDAP reads the table's file, or parameters of main.cf that begin with the
// table's name. It makes no connection.
func (s *Set) openLDAP(name string, depth int) (Table, error) {
	lookup, err := s.given(name)
	if err != nil {
		return nil, err
	}
	get := value(lookup)
	t := &ldapTable{
		base: get("search_base"), filter: orElse(get("query_filter"), "(mailacceptinggeneralid=%s)"),
		warn:         s.warn,
		resultFormat: orElse(get("result_format"), orElse(get("result_filter"), "%s")),
	}
	if t.query, err = readQuery(name, get); err != nil {
		return nil, err
	}
	if _, set := lookup("result_attribute"); !set {
		t.query.Ordinary = []string{"maildrop"} // an empty list is one, too
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	server, err := readDirectory(get)
	if err != nil {
		return nil, err
	}
	if t.directory, err = s.ldapDirectory(server); err != nil {
		return nil, err
	}
	if t.domains, err = s.openDomains(get("domain"), depth); err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	return t, nil
}

// readQuery reads what a table says of its searches.
func readQuery(name string, get func(string) string) (ldap.Query, error) {
	n := numbers{get: get}
	limit := n.read("expansion_limit", 0, 0)
	q := ldap.Query{
		Table: name, Scope: orElse(get("scope"), "sub"), Dereference: n.read("dereference", 0, 0),
		Terminal: splitWords(get("terminal_result_attribute")), Leaf: splitWords(get("leaf_result_attribute")),
		Ordinary: splitWords(get("result_attribute")), Special: splitWords(get("special_result_attribute")),
		RecursionLimit: n.read("recursion_limit", 1000, 1), ExpansionLimit: limit, SizeLimit: n.read("size_limit", limit, 0),
	}
	_, known := ldap.Scope(q.Scope)
	follow, err := boolean(get, "chase_referrals")
	switch {
	case n.err != nil:
		return q, n.err
	case err != nil:
		return q, err
	case !known:
		return q, fmt.Errorf("scope = %s: use sub, one or base", q.Scope)
	case q.Dereference > 3:
		return q, fmt.Errorf("dereference = %d: need a number from 0 to 3", q.Dereference)
	case follow:
		return q, errors.New("chase_referrals is not supported (name the server that has the entries in server_host)")
	}
	return q, nil
}

// longKey has all parts that a template can ask for.
const longKey = "u@a.b.c.d.e.f.g.h.i"

// check looks for mistakes in the templates.
func (t *ldapTable) check() error {
	for param, template := range map[string]string{"search_base": t.base, "query_filter": t.filter, "result_format": t.resultFormat} {
		if err := checkTemplate(template); err != nil {
			return fmt.Errorf("%s: %w", param, err)
		}
	}
	filter, _ := expandQuoted(t.filter, longKey, longKey, filterQuote)
	if err := ldap.CheckFilter(filter); err != nil {
		return fmt.Errorf("query_filter = %s: %w", t.filter, err)
	}
	without := strings.ReplaceAll(t.base, "%%", "")
	t.query.DynamicBase = strings.Contains(without, "%")
	return nil
}

// readDirectory reads what a table says of its server. The protocol is always
// version 3.
func readDirectory(get func(string) string) (s ldap.Server, err error) {
	n := numbers{get: get}
	s = ldap.Server{
		Hosts: strings.Join(splitWords(orElse(get("server_host"), "localhost")), " "), Port: n.read("server_port", 389, 1),
		Timeout: time.Duration(n.read("timeout", 10, 1)) * time.Second,
		CAFile:  get("tls_ca_cert_file"), CADir: get("tls_ca_cert_dir"), Cert: get("tls_cert"), Key: get("tls_key"),
	}
	if n.err != nil {
		return s, n.err
	}
	if s.RequireCert, err = boolean(get, "tls_require_cert"); err != nil {
		return s, err
	}
	if s.StartTLS, err = boolean(get, "start_tls"); err != nil {
		return s, err
	}
	switch v := orElse(get("bind"), "yes"); v {
	case "no", "none":
		s.Bind = "none"
		return s, nil
	case "yes", "simple":
		s.Bind = "simple"
	case "sasl":
		s.Bind, s.Mechanism = v, strings.ToUpper(get("sasl_mechs"))
	default:
		return s, fmt.Errorf("bind = %s: use no, yes or sasl", v)
	}
	s.DN, s.Password = get("bind_dn"), get("bind_pw")
	return s, nil
}

// ldapDirectory returns the connection to a server; tables that reach it in the
// same way share it.
func (s *Set) ldapDirectory(server ldap.Server) (*ldap.Directory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.directories[server]; d != nil {
		return d, nil
	}
	d, err := ldap.New(server, s.warn)
	if err == nil {
		s.directories[server] = d
	}
	return d, err
}

func (t *ldapTable) Lookup(key string) (string, bool, error) {
	if !utf8.ValidString(key) {
		return "", false, nil
	}
	key = strings.ToLower(key)
	if wants, err := t.domains.wants(key); err != nil || !wants {
		return "", false, err
	}
	if key == "" {
		t.warn(fmt.Sprintf("table \"ldap:%s\": empty query string -- ignored", t.query.Table))
		return "", false, nil
	}
	q := t.query
	q.Key = key
	q.Format = func(value string) (string, bool) {
		s, ok := expandTemplate(t.resultFormat, value, key)
		return s, ok && value != ""
	}
	var ok bool
	if q.Base, ok = expandQuoted(t.base, key, key, nameQuote); !ok {
		return "", false, nil
	}
	if q.Filter, ok = expandQuoted(t.filter, key, key, filterQuote); !ok {
		return "", false, nil
	}
	results, err := t.directory.Find(&q)
	if err != nil {
		return "", false, err
	}
	s := strings.Join(results, ",")
	return s, s != "", nil
}

// Close closes what is the table's own; the connection is the Set's.
func (t *ldapTable) Close() error { return t.domains.Close() }

// filterQuote quotes a value in a search filter (RFC 4515).
func filterQuote(s string) string { return hexQuote(s, `*()\`) }

// nameQuote quotes a value in a distinguished name (RFC 4514).
func nameQuote(s string) string { return hexQuote(s, " \t\"#+,;<>\\") }

func hexQuote(s, special string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c == 0 || strings.IndexByte(special, c) >= 0 {
			fmt.Fprintf(&b, "\\%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
