package smtpd

import (
	"fmt"
	"strings"
)

// counts are how often each command came and succeeded, in the order of the
// command table; the last is for unknown commands.
type counts [17]struct{ ok, total uint32 }

// find returns the index of a command.
func (*counts) find(verb string) int {
	for i, c := range commands {
		if strings.EqualFold(c.name, verb) {
			return i
		}
	}
	return unknown
}

// String returns the counts as the line "disconnect from" has them.
func (c *counts) String() string {
	var b strings.Builder
	var ok, total uint32
	for i, n := range c {
		if n.total == 0 {
			continue
		}
		name := "unknown"
		if i < unknown {
			name = strings.ToLower(commands[i].name)
		}
		fmt.Fprintf(&b, " %s=%d", name, n.ok)
		if n.ok != n.total {
			fmt.Fprintf(&b, "/%d", n.total)
		}
		ok, total = ok+n.ok, total+n.total
	}
	fmt.Fprintf(&b, " commands=%d", ok)
	if ok != total || total == 0 {
		fmt.Fprintf(&b, "/%d", total)
	}
	return b.String()
}
