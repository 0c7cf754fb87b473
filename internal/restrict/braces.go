package restrict

import (
	"errors"
	"strings"
)

// braced splits a "{ word, { name = value }, ... }" argument at commas and
// white space outside of inner braces.
func braced(s string) ([]string, error) {
	inner, err := unbrace(s)
	if err != nil {
		return nil, err
	}
	var out []string
	depth, start := 0, -1
	for i := 0; i <= len(inner); i++ {
		sep := i == len(inner) || strings.IndexByte(", \t\r\n", inner[i]) >= 0
		switch {
		case sep && depth == 0:
			if start >= 0 {
				out = append(out, inner[start:i])
			}
			start = -1
			continue
		case i == len(inner):
			return nil, errors.New("missing '}' in \"" + s + "\"")
		case start < 0:
			start = i
		}
		switch inner[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
	}
	return out, nil
}

// unbrace takes off the braces around s; nothing may follow them.
func unbrace(s string) (string, error) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			if rest := strings.Trim(s[i+1:], space); rest != "" {
				return "", errors.New("syntax error after '}' in \"" + s + "\"")
			}
			return strings.Trim(s[1:i], space), nil
		}
	}
	return "", errors.New("missing '}' in \"" + s + "\"")
}

// nameValue splits "name = value", which may stand in braces.
func nameValue(s string) (name, value string, err error) {
	if strings.HasPrefix(s, "{") {
		if s, err = unbrace(s); err != nil {
			return "", "", err
		}
	}
	name, value, ok := strings.Cut(s, "=")
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", "", errors.New("missing attribute name")
	case !ok:
		return "", "", errors.New("missing '=' after attribute name")
	}
	return name, strings.TrimSpace(value), nil
}
