package table

import (
	"fmt"
	"strconv"
	"strings"

	"sekisho/internal/config"
)

// settings reads the file of a table; a name that is no path stands before
// parameters of main.cf.
func (s *Set) settings(name string) (get func(string) string, err error) {
	lookup, err := s.given(name)
	return value(lookup), err
}

// given is settings that also tells whether a parameter is there, as far as
// main.cf tells that of an empty one.
func (s *Set) given(name string) (lookup func(string) (string, bool), err error) {
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, ".") {
		return func(p string) (string, bool) {
			v := s.o.Param(name + "_" + p)
			return v, v != ""
		}, nil
	}
	m, err := config.ReadSettings(s.path(name))
	return func(p string) (string, bool) {
		v, ok := m[p]
		return v, ok
	}, err
}

func value(lookup func(string) (string, bool)) func(string) string {
	return func(p string) string {
		v, _ := lookup(p)
		return v
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// numbers reads whole numbers of a table's file and keeps the first error.
type numbers struct {
	get func(string) string
	err error
}

func (n *numbers) read(name string, otherwise, least int) int {
	v := n.get(name)
	if v == "" {
		return otherwise
	}
	i, err := strconv.Atoi(v)
	if n.err == nil && (err != nil || i < least) {
		n.err = fmt.Errorf("%s = %s: need a number, %d or more", name, v, least)
	}
	return i
}

// yesNo reads a boolean.
func yesNo(v string) (bool, error) {
	if v != "yes" && v != "no" {
		return false, fmt.Errorf("%q is neither yes nor no", v)
	}
	return v == "yes", nil
}

// boolean reads one that is no unless it is set.
func boolean(get func(string) string, name string) (bool, error) {
	b, err := yesNo(orElse(get(name), "no"))
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}
