package config

import (
	"errors"
	"fmt"
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
	p, known := c.Parameter(name)
	if !known {
		return nil
	}
	v, err := c.Eval(name)
	if err == nil {
		err = p.check(v)
	}
	if err != nil {
		return &Error{c.Pos(name), name + ": " + err.Error()}
	}
	return nil
}

// check tests the type and the range of a value.
func (p Parameter) check(v string) error {
	outside := ""
	switch p.Type {
	case TypeBool:
		if !strings.EqualFold(v, "yes") && !strings.EqualFold(v, "no") {
			return fmt.Errorf("bad boolean value %q (use yes or no)", v)
		}
	case TypeInt:
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("bad numerical value %q (use a number)", v)
		}
		outside = p.outside(int64(n), number)
	case TypeTime:
		d, err := ParseTime(v, defaultUnit(p))
		if err != nil {
			return fmt.Errorf("bad time %q (use a number and one of s, m, h, d, w)", v)
		}
		outside = p.outside(int64(d), seconds)
	default:
		outside = p.outside(int64(len(v)), number)
		if outside != "" {
			return fmt.Errorf("bad length %d %s", len(v), outside)
		}
	}
	if outside != "" {
		return fmt.Errorf("invalid value %s %s", v, outside)
	}
	return nil
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
