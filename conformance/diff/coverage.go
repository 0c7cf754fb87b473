package main

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// coverage counts what Postfix's smtpd says with -v about the restrictions it
// evaluates.
type coverage struct {
	dialogues int
	names     map[string]*tally
}

type tally struct{ evaluated, permitted, refused int }

var (
	checked  = regexp.MustCompile(`^generic_checks: name=(\S+)$`)
	finished = regexp.MustCompile(`^generic_checks: name=(\S+) status=(-?\d+)`)
)

// add takes the log of one dialogue.
func (c *coverage) add(log []string) {
	c.dialogues++
	for _, l := range log {
		if f := checked.FindStringSubmatch(l); f != nil {
			c.of(f[1]).evaluated++
		} else if f := finished.FindStringSubmatch(l); f != nil {
			switch f[2] {
			case "1":
				c.of(f[1]).permitted++
			case "2":
				c.of(f[1]).refused++
			}
		}
	}
}

func (c *coverage) of(name string) *tally {
	name = strings.ToLower(name)
	if c.names == nil {
		c.names = map[string]*tally{}
	}
	if c.names[name] == nil {
		c.names[name] = &tally{}
	}
	return c.names[name]
}

// print writes the table, the names of the language only. It returns those that
// were never evaluated.
func (c *coverage) print(w io.Writer) (missing []string) {
	fmt.Fprintf(w, "\nIn %d dialogues with smtpd -v, Postfix evaluated:\n\n%-45s %9s %9s %9s\n", c.dialogues, "restriction", "times", "permitted", "refused")
	names := sorted(restrictions)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(c.of(b).evaluated, c.of(a).evaluated) })
	for _, n := range names {
		t := c.of(n)
		fmt.Fprintf(w, "%-45s %9d %9d %9d\n", n, t.evaluated, t.permitted, t.refused)
		if t.evaluated == 0 {
			missing = append(missing, n)
		}
	}
	return missing
}
