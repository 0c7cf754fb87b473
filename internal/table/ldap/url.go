package ldap

import (
	"errors"
	"net/url"
	"strings"
)

// searchURL is a URL that describes a search, RFC 4516.
type searchURL struct {
	dn     string
	attrs  []string
	scope  int
	filter string
}

var (
	errURL   = errors.New("bad URL")
	errScope = errors.New("bad scope")
)

func isURL(s string) bool {
	for _, scheme := range []string{"ldap://", "ldaps://", "ldapi://"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// parseURL reads "ldap://host/dn?attributes?scope?filter"; the host is not used,
// since the search goes to the table's own server.
func parseURL(s string) (searchURL, error) {
	u := searchURL{filter: "(objectclass=*)"}
	_, s, _ = strings.Cut(s, "://")
	_, s, _ = strings.Cut(s, "/")
	var part [4]string
	for i, p := range strings.SplitN(s, "?", 5) {
		if i == 4 {
			break // extensions
		}
		var err error
		if part[i], err = url.PathUnescape(p); err != nil {
			return u, errURL
		}
	}
	u.dn = part[0]
	u.attrs = strings.FieldsFunc(part[1], func(r rune) bool { return r == ',' })
	if part[2] != "" {
		scope, ok := Scope(part[2])
		if !ok {
			return u, errScope
		}
		u.scope = scope
	}
	if part[3] != "" {
		u.filter = part[3]
	}
	return u, nil
}
