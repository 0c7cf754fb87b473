package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// validate checks every value that main.cf sets.
func (c *Config) validate() error {
	var errs []error
	for _, name := range c.order {
		errs = append(errs, c.validateOne(name))
	}
	return errors.Join(errs...)
}

func (c *Config) validateOver() error {
	var errs []error
	for name := range c.over {
		errs = append(errs, c.validateOne(name))
	}
	return errors.Join(errs...)
}

func (c *Config) validateOne(name string) error {
	pos := c.Pos(name)
	if name == "default_rbl_reply" {
		return nil // its names are those of a reply
	}
	v, err := c.Eval(name)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", pos, name, err)
	}
	p, known := c.params[name]
	if !known {
		return nil
	}
	switch p.Type {
	case TypeBool:
		if !strings.EqualFold(v, "yes") && !strings.EqualFold(v, "no") {
			return fmt.Errorf("%s: bad boolean configuration: %s = %s (use yes or no)", pos, name, v)
		}
	case TypeInt:
		if _, err := strconv.Atoi(v); err != nil {
			return fmt.Errorf("%s: bad numerical configuration: %s = %s (use a number)", pos, name, v)
		}
	case TypeTime:
		if _, err := ParseTime(v, defaultUnit(p)); err != nil {
			return fmt.Errorf("%s: bad time configuration: %s = %s (use a number and one of s, m, h, d, w)", pos, name, v)
		}
	}
	return nil
}

// Unused returns what main.cf sets and nobody knows: neither a parameter, nor
// a restriction class, nor named by another value.
func (c *Config) Unused() []Warning {
	used := make(map[string]bool)
	for _, cl := range c.List("smtpd_restriction_classes") {
		used[cl.Text] = true
	}
	note := func(text string) {
		x := expander{lookup: func(n string) (string, bool) { used[n] = true; return "x", true }}
		_, _ = x.expand(text, 0)
	}
	for _, s := range c.values {
		note(s.raw)
	}
	for _, s := range c.Services {
		for _, o := range s.Overrides {
			note(o.Value)
		}
	}
	names := make([]string, 0, len(c.params))
	for n := range c.params {
		names = append(names, n)
	}
	slices.Sort(names)
	var out []Warning
	for _, n := range c.order {
		if _, known := c.params[n]; known || used[n] || c.serviceParameter(n) {
			continue
		}
		text := "unused parameter: " + n
		if near := Nearest(n, names); near != "" {
			text += " (did you mean " + near + "?)"
		}
		out = append(out, Warning{c.Pos(n), text})
	}
	return out
}

// serviceParameter reports whether a name is made of a service's name and one
// of the suffixes that every transport has.
func (c *Config) serviceParameter(name string) bool {
	for _, s := range c.Services {
		if rest, ok := strings.CutPrefix(name, s.Name+"_"); ok {
			if _, known := c.params["default_"+rest]; known || rest == "time_limit" {
				return true
			}
		}
	}
	return false
}

// Nearest returns the candidate that a mistyped word most likely means, or ""
// when none is close.
func Nearest(word string, candidates []string) string {
	best, bestAt := "", max(len(word)/4, 2)+1
	for _, c := range candidates {
		if d := distance(word, c); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// distance is the number of letters to change, add or drop.
func distance(a, b string) int {
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := prev[0]
		prev[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diag, prev[j] = prev[j], min(prev[j]+1, prev[j-1]+1, diag+cost)
		}
	}
	return prev[len(b)]
}
